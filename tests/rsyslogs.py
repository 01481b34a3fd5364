"""rsyslog as a receiver: UDP, TCP, TLS and RELP, each in a process of its own that can be killed and started again.

It works without a queue, so what it has answered or read is in its file.
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from certificates import Authority
from receiving import Receiver, eventually

from egress_watch.config import SinkSettings

HOST, PEER, SELF = "127.0.0.1", "sensor.test", "localhost"
_COMMON = """
global(workDirectory="{folder}" maxMessageSize="192k" net.enableDNS="off" {tls})
main_queue(queue.type="Direct")
template(name="record" type="string" string="%msg%\\n")
"""
_WRITE = """
if $app-name == "egress-watch" then action(type="omfile" file="{folder}/held" template="record" asyncWriting="off")
"""
_PLAIN_TLS = (
    'defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{ca}" defaultNetstreamDriverCertFile="{cert}" '
    'defaultNetstreamDriverKeyFile="{key}"'
)
INPUTS = {
    "syslog+udp": 'module(load="imudp")\ninput(type="imudp" address="127.0.0.1" port="{port}" rcvbufSize="8m")',
    "syslog+tcp": 'module(load="imtcp")\ninput(type="imtcp" address="127.0.0.1" port="{port}")',
    "syslog+tls": 'module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" '
    'streamDriver.authMode="x509/name" permittedPeer=["' + PEER + '"])\n'
    'input(type="imtcp" address="127.0.0.1" port="{port}")',
    "relp": 'module(load="imrelp")\ninput(type="imrelp" address="127.0.0.1" port="{port}" maxDataSize="192k")',
    "relp+tls": 'module(load="imrelp" tls.tlslib="openssl")\n'
    'input(type="imrelp" address="127.0.0.1" port="{port}" maxDataSize="192k" tls="on" tls.caCert="{ca}" '
    'tls.myCert="{cert}" tls.myPrivKey="{key}" tls.authMode="name" tls.permittedPeer=["' + PEER + '"])',
}


class Rsyslog:
    """One rsyslogd with one input, and the file it writes."""

    def __init__(
        self, folder: Path, scheme: str, *, days: float = 1, name: str = SELF, before: tuple[str, ...] = ()
    ) -> None:
        """Start it; ``before`` is what its command line begins with, such as another network's name space."""
        self.folder, self._before = folder, before
        self.port = free_port(udp=scheme == "syslog+udp")
        self._udp = scheme == "syslog+udp"
        secure = scheme.endswith("+tls")
        authority = Authority(folder)
        cert, key = authority.signed(name, days=days)
        files = {"ca": authority.ca_file, "cert": cert, "key": key}
        tls = _PLAIN_TLS.format(**files) if scheme == "syslog+tls" else ""
        text = _COMMON.format(folder=folder, tls=tls) + INPUTS[scheme].format(port=self.port, **files)
        (folder / "rsyslog.conf").write_text(text + _WRITE.format(folder=folder))
        told: dict[str, str] = {}
        if secure:
            mine, mine_key = authority.signed(PEER)
            told = {"ca_file": authority.ca_file, "cert_file": mine, "key_file": mine_key, "server_name": SELF}
        self.settings = SinkSettings(
            "siem", f"{scheme}://{HOST}:{self.port}", timeout_s=10.0, retry_s=0.05, retry_most_s=0.2, **told
        )
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        path = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin:/sbin")
        assert path, "rsyslog is not installed: apt-get install rsyslog rsyslog-gnutls rsyslog-relp"
        config, pid = self.folder / "rsyslog.conf", self.folder / "pid"
        pid.unlink(missing_ok=True)
        log = (self.folder / "log").open("ab")
        command = [*self._before, path, "-n", "-f", str(config), "-i", str(pid)]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()
        assert eventually(self._listens), (self.folder / "log").read_text()

    def kill(self) -> None:
        """End it at once, with all it has in memory."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def bodies(self) -> list[bytes]:
        """Return what is in its file; a line without its end is not there yet."""
        path = self.folder / "held"
        return path.read_bytes().split(b"\n")[:-1] if path.exists() else []

    def _listens(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        table = Path(f"/proc/{self.process.pid}/net/{'udp' if self._udp else 'tcp'}").read_text()
        return bool(re.search(rf":{self.port:04X} 00000000:0000 {'07' if self._udp else '0A'}", table))


def free_port(*, udp: bool = False) -> int:
    """Return a port nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


@contextmanager
def rsyslog(folder: Path, scheme: str) -> Iterator[Receiver]:
    """Run rsyslog with one input."""
    run = Rsyslog(folder, scheme)
    try:
        yield Receiver(run.settings, run.bodies, run.kill, run.start)
    finally:
        run.kill()
