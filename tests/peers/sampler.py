"""Asks the gateway for what it must answer, over UDP and TCP, for so many seconds; any other answer, or none, fails."""

import sys
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype


def main():
    host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])

    def ask(name, rtype, tcp):
        query = dns.message.make_query(name, rtype, use_edns=0, payload=1232)
        send = dns.query.tcp if tcp else dns.query.udp
        answer = send(query, host, 5, port)
        data = sorted(str(item) for rrset in answer.answer for item in rrset if rrset.rdtype == query.question[0].rdtype)
        return answer, data

    def expect(name, rtype, tcp, code, wanted):
        answer, data = ask(name, rtype, tcp)
        if not tcp and answer.flags & dns.flags.TC:
            assert wanted is None, f"{name} {rtype} is truncated"
            return
        assert answer.rcode() == code, f"{name} {rtype}: {dns.rcode.to_text(answer.rcode())}"
        assert wanted is None or data == wanted, f"{name} {rtype}: {data}"

    end, asked, turn = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        tcp = turn % 4 == 3
        host_number = turn % 3000
        address = f"10.53.{host_number // 250}.{host_number % 250 + 1}"
        expect("www.plain.test", "A", tcp, dns.rcode.NOERROR, ["192.0.2.1", "192.0.2.2"])
        expect(f"host{host_number:04}.plain.test", "A", tcp, dns.rcode.NOERROR, [address])
        expect(f"s{turn}.wild.plain.test", "A", tcp, dns.rcode.NOERROR, ["192.0.2.80"])
        expect(f"missing{turn % 20}.plain.test", "A", tcp, dns.rcode.NXDOMAIN, [])
        expect(f"s{turn}.blocked.plain.test", "A", tcp, dns.rcode.NXDOMAIN, [])
        expect("v4only.plain.test", "AAAA", tcp, dns.rcode.NOERROR, [])
        expect("www.plain.test", "HINFO", tcp, dns.rcode.REFUSED, [])
        if turn % 5 == 0:
            expect("large.plain.test", "TXT", False, dns.rcode.NOERROR, None)
            answer, data = ask("large.plain.test", "TXT", True)
            assert len(data) == 9 and not answer.flags & dns.flags.TC, answer
        asked += 7
        turn += 1
        time.sleep(0.01)
    print(f"{asked} sampled answers were right")


main()
