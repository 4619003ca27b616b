"""Asks a server directly and through the gateway: the answers are equal, byte by byte, apart from the id and OPT.

dnspython's == sees neither TTL nor letter case nor OPT, so the wire form is compared. TTLs may have counted down by the
seconds that passed, when the gateway answers from its cache: they are compared, the gateway's being the lower.
"""

import socket
import struct
import sys

import dns.flags
import dns.message
import dns.query
import dns.rdatatype


def address(text):
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


def exchange(where, query, tcp):
    wire = query.to_wire()
    if tcp:
        with socket.create_connection(where, 5) as stream:
            stream.sendall(struct.pack("!H", len(wire)) + wire)
            data = b""
            while len(data) < 2 or len(data) < 2 + struct.unpack("!H", data[:2])[0]:
                more = stream.recv(65535)
                assert more, "the stream ended early"
                data += more
            return data[2:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(where)
        sock.send(wire)
        return sock.recv(65535)


def skip_name(wire, at):
    while True:
        length = wire[at]
        if length >= 0xC0:
            return at + 2
        at += 1 + length
        if length == 0:
            return at


def parts(wire):
    """The header without id and ARCOUNT, the question, and each record but OPT as (fixed bytes, TTL)."""
    flags, qd, an, ns, ar = struct.unpack("!5H", wire[2:12])
    at = 12
    for _ in range(qd):
        at = skip_name(wire, at) + 4
    question, records = wire[12:at], []
    for _ in range(an + ns + ar):
        start, at = at, skip_name(wire, at)
        rtype, _, ttl, length = struct.unpack("!HHIH", wire[at : at + 10])
        end = at + 10 + length
        if rtype != dns.rdatatype.OPT:
            records.append((wire[start : at + 4] + wire[at + 8 : end], ttl))
        at = end
    assert at == len(wire), "bytes after the last record"
    return (flags, qd, an, ns, question), records


def compare(direct, gateway, name, rtype, tcp, **options):
    query = dns.message.make_query(name, rtype, **options)
    query.flags &= ~dns.flags.RD
    label = f"{name} {rtype} tcp={tcp} {options}"
    head, records = parts(exchange(direct, query, tcp))
    # Twice: as the upstream said it, and as the cache may say it.
    for turn in ("first", "second"):
        wire = exchange(gateway, query, tcp)
        assert wire[:2] == struct.pack("!H", query.id), f"{label}: id"
        found_head, found = parts(wire)
        if head[0] & found_head[0] & dns.flags.TC:
            # Nothing but "ask over TCP" is said: whether with AA or not is nobody's business.
            head, found_head = ((flags & ~dns.flags.AA, *rest) for flags, *rest in (head, found_head))
        assert found_head == head, f"{label}, {turn}: {found_head} is not {head}"
        assert [fixed for fixed, _ in found] == [fixed for fixed, _ in records], f"{label}, {turn}: records"
        for (_, ttl), (_, original) in zip(found, records):
            assert original - 3 <= ttl <= original, f"{label}, {turn}: TTL {ttl} of {original}"
        had_opt = dns.message.from_wire(wire).edns >= 0
        assert had_opt == (query.edns >= 0), f"{label}, {turn}: OPT"


def main():
    direct, gateway, zone = address(sys.argv[1]), address(sys.argv[2]), sys.argv[3]
    questions = [
        ("www", "A"),
        ("wWw", "AAAA"),
        ("alias", "A"),
        ("a.b.wild", "A"),
        ("missing", "A"),
        ("v4only", "AAAA"),
        ("x.deleg", "A"),
        ("large", "TXT"),
    ]
    compare(direct, gateway, zone, "SOA", False)
    for owner, rtype in questions:
        name = f"{owner}.{zone}"
        for tcp in (False, True):
            compare(direct, gateway, name, rtype, tcp)
            compare(direct, gateway, name, rtype, tcp, use_edns=0, payload=1232)
            compare(direct, gateway, name, rtype, tcp, use_edns=0, payload=1232, want_dnssec=True)


main()
