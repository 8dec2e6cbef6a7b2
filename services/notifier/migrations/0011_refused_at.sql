-- When a closed address last refused a message; null while one is to be tried at once. `tried_at` is set before the
-- message is sent, so it does not say that the channel refused it.
ALTER TABLE notifier.sending_hold ADD COLUMN refused_at timestamptz;
UPDATE notifier.sending_hold SET refused_at = tried_at WHERE address <> '';
