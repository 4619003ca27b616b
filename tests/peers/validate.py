"""Fetches the keys of a zone and validates answers and a denial with them, all from one server."""

import sys

import dns.dnssec
import dns.message
import dns.name
import dns.query
import dns.rdatatype


def main():
    host, port, zone = sys.argv[1], int(sys.argv[2]), dns.name.from_text(sys.argv[3])

    def ask(name, rtype):
        query = dns.message.make_query(name, rtype, want_dnssec=True, payload=4096)
        answer = dns.query.udp(query, host, 5, port)
        return dns.query.tcp(query, host, 5, port) if answer.flags & dns.flags.TC else answer

    keys = ask(zone, "DNSKEY")
    keyset = keys.get_rrset(keys.answer, zone, dns.rdataclass.IN, dns.rdatatype.DNSKEY)
    assert keyset is not None, keys
    trusted = {zone: keyset}
    checked = 0
    for name, rtype in [("@", "DNSKEY"), ("@", "SOA"), ("www", "A"), ("www", "AAAA"), ("missing", "A"), ("huge", "TXT")]:
        answer = ask(dns.name.from_text(name, zone), rtype)
        for rrset in answer.answer + answer.authority:
            if rrset.rdtype == dns.rdatatype.RRSIG:
                continue
            section = answer.answer if rrset in answer.answer else answer.authority
            signatures = answer.get_rrset(
                section, rrset.name, rrset.rdclass, dns.rdatatype.RRSIG, covers=rrset.rdtype
            )
            assert signatures is not None, f"{rrset.name} {rrset.rdtype} is not signed:\n{answer}"
            dns.dnssec.validate(rrset, signatures, trusted)
            checked += 1
    assert checked >= 7, f"{checked} RRsets validated"
    print(checked)


main()
