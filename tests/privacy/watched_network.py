"""Runs a command in a network of its own and writes down whom the command tried to reach.

`unshare --net --mount python watched_network.py SEEN COMMAND...` appends one attempt a line to SEEN and ends with the
command's status. The network has a default route. A name server gives every name an address. Every port of every IPv4
address accepts a connection and reads what it gets. IPv6 packets are seen but not answered. Traffic to this machine's
own addresses is free and not seen.

All that is this process: it reads and answers the packets at the far end of a virtual cable. No packet leaves the
namespace.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

NAME_SERVER = "203.0.113.53"
NAMES = ipaddress.ip_network("198.18.0.0/15")
"""Addresses of names: the name server gives every name its own."""
LINGER_SECONDS = 1.0
"""What the command sent last is still read."""

NETWORK = """
link set lo up
link add near type veth peer name far
link set near arp off
addr add 192.0.2.2/24 dev near
link set near up
link set far up
route add default dev near
"""
NETWORK_6 = """
-6 addr add 2001:db8::2/64 dev near nodad
-6 route add default dev near
"""

IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"
TCP, UDP = 6, 17
FIN, SYN, RST, ACK = 1, 2, 4, 16
A, DNS_PORT = 1, 53


class World:
    """Answers packets for every address, and tells whom they were for."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._addresses: dict[str, bytes] = {}
        self._names: dict[bytes, str] = {}
        self._free = NAMES.hosts()

    def answer(self, frame: bytes) -> bytes | None:
        """The frame to send back, if any. The sender's link address is good enough for both ends of a cable."""
        ether, packet = frame[:14], frame[14:]
        if ether[12:] == IPV6:
            self._see_6(packet)
        if ether[12:] != IPV4 or packet[9] not in (TCP, UDP):
            return None
        start, end = 4 * (packet[0] & 15), int.from_bytes(packet[2:4])
        source, target, protocol, body = packet[12:16], packet[16:20], packet[9], packet[start:end]
        reply = self._tcp(target, body) if protocol == TCP else self._udp(target, body)
        return None if reply is None else ether + ip_packet(protocol, target, source, reply)

    def _see_6(self, packet: bytes) -> None:
        if packet[6] in (TCP, UDP):
            address, port = ipaddress.IPv6Address(packet[24:40]), int.from_bytes(packet[42:44])
            self._tell(f"{'TCP' if packet[6] == TCP else 'UDP'} [{address}]:{port}")

    def _name(self, target: bytes) -> str:
        return self._names.get(target, str(ipaddress.IPv4Address(target)))

    def _udp(self, target: bytes, body: bytes) -> bytes | None:
        source_port, port, data = *struct.unpack("!HH", body[:4]), body[8:]
        if port != DNS_PORT:
            self._tell(f"UDP {self._name(target)}:{port}")
            return None
        reply = self._look_up(data)
        return struct.pack("!HHHH", port, source_port, 8 + len(reply), 0) + reply

    def _look_up(self, query: bytes) -> bytes:
        """A name's own IPv4 address; nothing to any other question."""
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode("latin-1"))
            at += 1 + length
        name, kind, question = ".".join(labels), int.from_bytes(query[at + 1 : at + 3]), query[12 : at + 5]
        self._tell(f"look-up of {name}")
        if name not in self._addresses:
            self._addresses[name] = next(self._free).packed
            self._names[self._addresses[name]] = name
        record = b"\xc0\x0c" + struct.pack("!HHIH", A, 1, 60, 4) + self._addresses[name] if kind == A else b""
        return query[:2] + struct.pack("!HHHHH", 0x8180, 1, bool(record), 0, 0) + question + record

    def _tcp(self, target: bytes, body: bytes) -> bytes | None:
        """Accepts, acknowledges what comes, and closes when the other side does."""
        source_port, port, sequence, acknowledged, offset, flags = struct.unpack("!HHIIBB", body[:14])
        data = body[4 * (offset >> 4) :]
        if flags & RST:
            return None
        if flags & SYN:
            self._tell(f"TCP {self._name(target)}:{port}")
            own, length, kind = 1_000, 1, SYN | ACK
        elif data or flags & FIN:
            own, length, kind = acknowledged, len(data) + (flags & FIN), ACK | (flags & FIN)
        else:
            return None
        heard = (sequence + length) % 2**32
        return struct.pack("!HHIIBBHHH", port, source_port, own, heard, 5 << 4, kind, 65_535, 0, 0)


def ip_packet(protocol: int, source: bytes, target: bytes, body: bytes) -> bytes:
    """An IPv4 packet, with its checksums and those of TCP or UDP."""
    pseudo = source + target + struct.pack("!BBH", 0, protocol, len(body))
    body = _with_sum(body, 16 if protocol == TCP else 6, pseudo)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0, source, target)
    return _with_sum(head, 10) + body


def _with_sum(data: bytes, at: int, before: bytes = b"") -> bytes:
    padded = before + data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return data[:at] + struct.pack("!H", ~total & 0xFFFF) + data[at + 2 :]


def build() -> socket.socket:
    """Lays the cable and names the name server; the far end as a socket."""
    lines = NETWORK + (NETWORK_6 if Path("/proc/sys/net/ipv6").exists() else "")
    for line in filter(None, lines.splitlines()):
        subprocess.run(["ip", *line.split()], check=True)
    with tempfile.TemporaryDirectory() as folder:
        _replace("/etc/resolv.conf", f"nameserver {NAME_SERVER}\n", Path(folder))
        _replace("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n", Path(folder))
    far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    far.bind(("far", 0))
    return far


def _replace(path: str, text: str, folder: Path) -> None:
    """For this mount namespace alone: a resolver of the machine behind a Unix socket would ask the real network."""
    own = folder / "own"
    own.write_text(text)
    subprocess.run(["mount", "--bind", own, path], check=True)
    own.unlink()


def serve(far: socket.socket, world: World) -> None:
    """Answers until the process ends."""
    while True:
        reply = world.answer(far.recv(1 << 17))
        if reply is not None:
            far.send(reply)


def main() -> int:
    """See the module."""
    with open(sys.argv[1], "w", buffering=1) as seen:
        world = World(lambda line: print(line, file=seen))
        threading.Thread(target=serve, args=(build(), world), daemon=True).start()
        status = subprocess.run(sys.argv[2:], check=False).returncode
        time.sleep(LINGER_SECONDS)
    return status


if __name__ == "__main__":
    sys.exit(main())
