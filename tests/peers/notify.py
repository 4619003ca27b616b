"""Sends a NOTIFY signed with TSIG and verifies the signature of the response."""

import sys

import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.tsigkeyring


def main():
    host, port, zone, name, secret = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
    notify = dns.message.make_query(zone, "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    notify.flags = (notify.flags & ~dns.flags.RD) | dns.flags.AA
    notify.use_tsig(dns.tsigkeyring.from_text({name: secret}), algorithm="hmac-sha256")
    # dnspython raises when the response is unsigned or its signature is wrong.
    response = dns.query.udp(notify, host, 5, port)
    assert response.had_tsig, response
    assert response.rcode() == dns.rcode.NOERROR, response
    assert response.opcode() == dns.opcode.NOTIFY, response


main()
