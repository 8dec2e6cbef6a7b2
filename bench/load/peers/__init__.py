"""Other loaders, set up as their documentation shows. Each runs in a virtual environment of its own, so it imports only
its own packages."""
