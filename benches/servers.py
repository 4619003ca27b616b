"""How weir, its peers and the floors are configured for each case of benches/compare.py: all that decides whether the
comparison is fair is in this file.

Alike for all: the same number of threads, the same core, loopback, no log of queries, no DNSSEC validation, the same
upstream; a cache of answers that is large enough in the case `cached` and none (or names that never come twice) in
`forward`; the client 127.9.9.9 is served in each case, so that a server can be seen to be ready where the load's
clients (127.0.1.x) get nothing.

Each function gives the command that starts a server, or None when it has no means for the case: then the table says –.
"""
import functools, os, pathlib, re, shutil, subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
WEIR = os.environ.get("WEIR", str(ROOT / "target/release/weir"))
FLOORS = ROOT / "benches/floors/target/release/floors"

# The client that is served where others are not.
GUEST = "127.9.9.9"
ADDRESS = "192.0.2.1"


def program(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def weir(case, home, port, upstream, threads, listed, gateway="", limits="", binary=WEIR):
    policy = home / "policy"
    write(policy / "gateway.toml", f'''schema = 1
listen = ["127.0.0.1:{port}"]
workers = {threads}
watch = false
[[upstream]]
name = "reflect"
address = "127.0.0.1:{upstream}"
[pool.default]
health = {{ query = "health.example.com A" }}
[cache]
size = "{"64MiB" if case == "cached" else "0"}"
[control]
socket = "{home}/sock"
[log]
queries = "none"
{gateway}''')
    # The default policy; the load comes from four addresses: limits are looked at for each query, and reached in `over` only.
    rate = "rate = 1\nburst = 1\nslip = 0" if case == "over" else "rate = 1000000\nburst = 1000000"
    write(policy / "limits.toml", f"[source]\n{rate}\n[overload]\nrate = 1000000\n[tcp]\nconnections = 20000\n"
                                  f"per_client = 20000\nrate = 1000000\nidle = \"1h\"\n{limits}")
    if case == "local":
        write(policy / "filters/10-local.toml", '[zone]\ntitle = "local"\n[[rule]]\nid = "local"\nnames = ["example.com"]\n'
                                                f'action = "sinkhole"\naddresses = ["{ADDRESS}"]\n')
    if case == "blocked":
        write(policy / "filters/10-list.toml", '[zone]\ntitle = "list"\n[[rule]]\nid = "list"\nlist = "lists/names.txt"\n'
                                               'action = "nxdomain"\n')
        (policy / "lists").mkdir(exist_ok=True)
        shutil.copy(listed, policy / "lists/names.txt")
    if case in ("denied", "refused"):
        denied = "drop" if case == "denied" else "refuse"
        write(policy / "access.toml", f'allow = ["{GUEST}"]\ndenied = "{denied}"\n')
    return [binary, "run", str(policy), "--state", str(home / "state")]


def weir_unguarded(*how):
    """What is on one's guard while there is no attack is off: held against `weir`, this tells what it costs."""
    off = "".join(f'[{part}]\nmode = "off"\n' for part in ("storm", "cookies"))
    return weir(*how, gateway="[top]\nsamples = 0\n", limits=off)


def dnsdist(case, home, port, upstream, threads, listed):
    served = GUEST + "/32" if case == "denied" else "127.0.0.0/8"
    text = (f'for _ = 1, {threads} do addLocal("127.0.0.1:{port}", {{reusePort={"true" if threads > 1 else "false"}}}) end\n'
            f'setACL({{"{served}"}})\nsetSecurityPollSuffix("")\nsetMaxTCPClientThreads(1)\n'
            f'newServer({{address="127.0.0.1:{upstream}", checkName="health.example.com."}})\n')
    if case == "cached":
        text += 'getPool(""):setCache(newPacketCache(100000))\n'
    if case == "local":
        text += ('local names = newSuffixMatchNode()\nnames:add(newDNSName("example.com"))\n'
                 f'addAction(SuffixMatchNodeRule(names), SpoofAction("{ADDRESS}"))\n')
    if case == "blocked":
        text += (f'local listed = newSuffixMatchNode()\nfor name in io.lines("{listed}") do listed:add(newDNSName(name)) end\n'
                 'addAction(SuffixMatchNodeRule(listed), RCodeAction(DNSRCode.NXDOMAIN))\n')
    if case == "refused":
        text += (f'local guests = newNMG()\nguests:addMask("{GUEST}/32")\n'
                 'addAction(NotRule(NetmaskGroupRule(guests)), RCodeAction(DNSRCode.REFUSED))\n')
    if case == "over":
        text += f'addAction(MaxQPSIPRule(1, 32, 64, 1), DropAction())\n'
    return [program("dnsdist"), "--supervised", "--disable-syslog", "-C", write(home / "dnsdist.conf", text)]


def unbound(case, home, port, upstream, threads, listed):
    access = f"access-control: {GUEST}/32 allow\n access-control: 127.0.0.0/8 "
    access += {"denied": "deny", "refused": "refuse"}.get(case, "allow")
    text = (f'server:\n interface: 127.0.0.1\n port: {port}\n do-daemonize: no\n chroot: ""\n username: ""\n verbosity: 0\n'
            f' directory: "{home}"\n pidfile: "{home}/pid"\n use-syslog: no\n logfile: "{home}/log"\n num-threads: {threads}\n'
            f' so-reuseport: yes\n so-rcvbuf: 8m\n so-sndbuf: 8m\n do-not-query-localhost: no\n {access}\n'
            f' module-config: "iterator"\n outgoing-range: 8192\n num-queries-per-thread: 4096\n msg-cache-size: 64m\n'
            f' rrset-cache-size: 64m\n')
    if case == "local":
        text += f' local-zone: "example.com." redirect\n local-data: "example.com. A {ADDRESS}"\n'
    if case == "blocked":
        names = pathlib.Path(listed).read_text().split()
        write(home / "zones.conf", "".join(f'local-zone: "{name}." always_nxdomain\n' for name in names))
        text += f' include: "{home}/zones.conf"\n'
    if case == "over":
        text += " ip-ratelimit: 1\n ip-ratelimit-factor: 0\n"
    text += f'forward-zone:\n name: "."\n forward-addr: 127.0.0.1@{upstream}\nremote-control:\n control-enable: no\n'
    return [program("unbound"), "-d", "-c", write(home / "unbound.conf", text)]


def dnsmasq(case, home, port, upstream, threads, listed):
    # It has one thread, and neither access lists for clients nor limits for each of them.
    if case in ("denied", "refused", "over") or threads > 1:
        return None
    text = (f"port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nno-poll\nuser=root\npid-file=\n"
            f"server=127.0.0.1#{upstream}\ncache-size={10000 if case == 'cached' else 0}\ndns-forward-max=10000\n")
    if case == "local":
        text += f"address=/example.com/{ADDRESS}\n"
    if case == "blocked":
        text += "".join(f"local=/{name}/\n" for name in pathlib.Path(listed).read_text().split())
    return [program("dnsmasq"), "--keep-in-foreground", "--conf-file=" + write(home / "dnsmasq.conf", text)]


def smartdns(case, home, port, upstream, threads, listed):
    # One thread answers; nothing denies clients or limits each of them. A blocked name gets NOERROR with an SOA.
    if case in ("denied", "refused", "over") or threads > 1:
        return None
    text = (f"bind 127.0.0.1:{port}\nserver 127.0.0.1:{upstream}\ncache-size {16384 if case == 'cached' else 0}\n"
            "cache-persist no\nspeed-check-mode none\ndualstack-ip-selection no\nserve-expired no\nprefetch-domain no\n"
            f"log-level fatal\nlog-file {home}/log\naudit-enable no\n")
    if case == "local":
        text += f"address /example.com/{ADDRESS}\n"
    if case == "blocked":
        text += f"domain-set -name listed -type list -file {listed}\naddress /domain-set:listed/#\n"
    return [program("smartdns"), "-f", "-p", "-", "-c", write(home / "smartdns.conf", text)]


def floor(case, home, port, upstream, threads, listed):
    if case == "forward":
        return [str(FLOORS), "relay", f"127.0.0.1:{port}", f"127.0.0.1:{upstream}", str(threads)]
    kind = "sink" if case in ("denied", "over") else "reflect"
    return [str(FLOORS), kind, f"127.0.0.1:{port}", str(threads)]


SERVERS = {"floor": floor, "weir": weir, "dnsdist": dnsdist, "unbound": unbound, "smartdns": smartdns, "dnsmasq": dnsmasq,
           "unguarded": weir_unguarded}

# The builds of weir that are held against each other, by what they are called: the others are compared with the first.
BUILDS = {"weir": WEIR}


def add_build(name, path):
    """Another build of weir, in the configuration of `weir`."""
    BUILDS[name] = str(pathlib.Path(path).resolve())
    SERVERS[name] = functools.partial(weir, binary=BUILDS[name])


# What runs when nothing else is asked for.
USUAL = [name for name in SERVERS if name != "unguarded"]

# Where a case has another answer than elsewhere: the floor answers all alike.
ANSWERS = {("floor", "blocked"): "noerror", ("floor", "refused"): "noerror", ("smartdns", "blocked"): "noerror"}


def version(name):
    """What it says of itself; None when it is not installed."""
    command = {"floor": None, "unguarded": [WEIR, "--version"], "dnsdist": ["dnsdist", "--version"],
               "unbound": ["unbound", "-V"], "smartdns": ["smartdns", "-v"], "dnsmasq": ["dnsmasq", "--version"],
               **{build: [path, "--version"] for build, path in BUILDS.items()}}[name]
    if command is None:
        return "benches/floors"
    found = program(command[0])
    if not found:
        return None
    text = subprocess.run([found, *command[1:]], capture_output=True, text=True).stdout
    numbers = re.search(r"\d+(\.\d+)*\S*", text)
    return numbers[0] if numbers else "?"
