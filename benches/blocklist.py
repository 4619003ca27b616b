#!/usr/bin/env python3
"""The same block list in weir, dnsdist and Unbound: what it takes to load, in memory, and for each query.

usage: benches/blocklist.py [--list FILE ...] [--names 1000000] [--rounds 3] [--seconds 3] [--servers weir,dnsdist,...]

Lists are plain domains, a name a line; without one, --names names are made, as long as those of published lists. Each
round starts each server in turn (A B C D, A B C D), on loopback and on core 0, with load and upstream on core 1; waits
until it refuses a listed name; asks for listed and for other names with dnsperf; and ends it. Figures are medians over
the rounds with the least and the greatest.

servers: weir          an NXDOMAIN rule over the list
         dnsdist       a SuffixMatchNode, filled from the file by its Lua configuration
         unbound       local-zone: "name" always_nxdomain
         unbound-rpz   a response policy zone with name and *.name, as weir and dnsdist block what is below

rows:    load          from the start until a listed name is refused
         bytes a name  resident memory beyond that of the same server with a list of one name
         listed, other queries a second, mean latency, and CPU of the server a query
Needs dnsperf, nsd, dnsdist and unbound as Debian has them; a server that is not installed is left out, loudly.
"""
import argparse, os, pathlib, random, re, shutil, signal, socket, statistics, struct, subprocess, sys, tempfile, time

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PORT = 20570
UPSTREAM = PORT + 1
ROOT = pathlib.Path(__file__).resolve().parent.parent
WEIR = os.environ.get("WEIR", str(ROOT / "target/release/weir"))
START_MAX = 1200


def program(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")


def made(count):
    """Names like those of benches/filter.rs: 18.5 bytes each with the line end."""
    rng = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    for _ in range(count):
        name = "".join(rng.choices(letters, k=rng.randrange(6, 16))) + rng.choice([".com", ".net", ".org", ".info", ".co.uk"])
        yield "".join(rng.choices(letters, k=5)) + "." + name if rng.random() < 0.4 else name


def read(lists):
    for path in lists:
        for line in open(path, encoding="utf-8"):
            name = line.split("#")[0].strip().lower()
            if re.fullmatch(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})+", name):
                yield name


def weir(folder, names):
    for part in ("filters", "lists"):
        folder.joinpath("policy", part).mkdir(parents=True)
    policy = folder / "policy"
    policy.joinpath("gateway.toml").write_text(
        f'schema = 1\nlisten = ["127.0.0.1:{PORT}"]\nworkers = 1\nwatch = false\n[[upstream]]\nname = "nsd"\n'
        f'address = "127.0.0.1:{UPSTREAM}"\n[pool.default]\nhealth = {{ query = "passed.example SOA" }}\n'
        f'[control]\nsocket = "{folder}/sock"\n[log]\nqueries = "none"\n')
    policy.joinpath("limits.toml").write_text("".join(f'[{part}]\nmode = "off"\n' for part in ("source", "rrl", "overload")))
    policy.joinpath("filters/10-list.toml").write_text(
        '[zone]\ntitle = "list"\n[[rule]]\nid = "list"\nlist = "lists/names.txt"\naction = "nxdomain"\n')
    with open(policy / "lists/names.txt", "w") as file:
        file.writelines(f"{name}\n" for name in names)
    return [WEIR, "run", str(policy), "--state", str(folder / "state")]


def dnsdist(folder, names):
    with open(folder / "names", "w") as file:
        file.writelines(f"{name}\n" for name in names)
    folder.joinpath("dnsdist.conf").write_text(
        f'setLocal("127.0.0.1:{PORT}")\nsetSecurityPollSuffix("")\nnewServer("127.0.0.1:{UPSTREAM}")\n'
        f'getPool(""):setCache(newPacketCache(100000))\nlocal listed = newSuffixMatchNode()\n'
        f'for name in io.lines("{folder}/names") do listed:add(newDNSName(name)) end\n'
        f'addAction(SuffixMatchNodeRule(listed), RCodeAction(DNSRCode.NXDOMAIN))\n')
    return [program("dnsdist"), "--supervised", "--disable-syslog", "-C", str(folder / "dnsdist.conf")]


def unbound(folder, names, rpz=False):
    modules = "respip iterator" if rpz else "iterator"
    text = (f'server:\n interface: 127.0.0.1\n port: {PORT}\n do-daemonize: no\n chroot: ""\n username: ""\n'
            f' directory: "{folder}"\n pidfile: "{folder}/pid"\n use-syslog: no\n logfile: "{folder}/log"\n num-threads: 1\n'
            f' do-not-query-localhost: no\n access-control: 127.0.0.0/8 allow\n module-config: "{modules}"\n')
    if rpz:
        with open(folder / "rpz", "w") as file:
            file.write("$TTL 60\n$ORIGIN rpz.test.\n@ SOA localhost. root.localhost. 1 60 60 60 60\n@ NS localhost.\n")
            file.writelines(f"{name} CNAME .\n*.{name} CNAME .\n" for name in names)
        text += f'rpz:\n name: rpz.test\n zonefile: "{folder}/rpz"\n'
    else:
        with open(folder / "zones.conf", "w") as file:
            file.writelines(f'local-zone: "{name}." always_nxdomain\n' for name in names)
        text += f' include: "{folder}/zones.conf"\n'
    text += f'forward-zone:\n name: "."\n forward-addr: 127.0.0.1@{UPSTREAM}\nremote-control:\n control-enable: no\n'
    folder.joinpath("unbound.conf").write_text(text)
    return [program("unbound"), "-d", "-c", str(folder / "unbound.conf")]


SERVERS = {"weir": weir, "dnsdist": dnsdist, "unbound": unbound, "unbound-rpz": lambda *how: unbound(*how, rpz=True)}


def upstream(folder):
    folder.joinpath("passed.example").write_text(
        "$TTL 3600\n$ORIGIN passed.example.\n@ SOA a a 1 3600 3600 3600 3600\n@ NS a\na A 192.0.2.1\n* A 192.0.2.2\n")
    folder.joinpath("nsd.conf").write_text(
        f'server:\n ip-address: 127.0.0.1@{UPSTREAM}\n username: ""\n chroot: ""\n zonesdir: "{folder}"\n'
        f' pidfile: "{folder}/nsd.pid"\n xfrdfile: "{folder}/xfrd"\n xfrdir: "{folder}"\n'
        f' zonelistfile: "{folder}/zonelist"\n logfile: "{folder}/nsd.log"\n'
        f' server-count: 1\n rrl-ratelimit: 0\n rrl-whitelist-ratelimit: 0\n database: ""\nremote-control:\n control-enable: no\n'
        f'zone:\n name: passed.example\n zonefile: passed.example\n')
    return [program("nsd"), "-d", "-c", str(folder / "nsd.conf")]


def start(core, command, folder):
    log = open(folder / "out", "a")
    return subprocess.Popen(["taskset", "-c", str(core), *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def rcode(name, port):
    """What a server says of a name; None: nothing yet."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    packet = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + labels
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        try:
            sock.connect(("127.0.0.1", port))
            sock.send(packet + b"\0\0\1\0\1")
            return sock.recv(512)[3] & 15
        except OSError:
            return None


def wait(process, name, code, port, folder):
    begin = time.monotonic()
    while rcode(name, port) != code:
        if process.poll() is not None or time.monotonic() - begin > START_MAX:
            sys.exit(f"{process.args[3]} does not serve: {folder.joinpath('out').read_text()[-2000:]}")
        time.sleep(0.002)
    return time.monotonic() - begin


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def settled(pid):
    """Resident memory once it stays the same: what a start needs besides is given back then."""
    before = 0
    for _ in range(60):
        now = resident(pid)
        if abs(now - before) <= now / 200:
            break
        before = now
        time.sleep(1)
    return now


def ask(process, file, seconds, code):
    command = [program("dnsperf"), "-s", "127.0.0.1", "-p", str(PORT), "-d", str(file), "-l", str(seconds), "-c", "4", "-q", "64"]
    before = cpu(process.pid)
    text = subprocess.run(["taskset", "-c", "1", *command], capture_output=True, text=True, check=True).stdout
    spent = cpu(process.pid) - before
    number = lambda label: float(re.search(rf"{label}:\s+([\d.]+)", text)[1])
    completed, lost = number("Queries completed"), number("Queries lost")
    codes = re.search(r"Response codes:\s+(.*)", text)[1]
    if lost > completed / 200 or f"{code} {completed:.0f} " not in codes:
        sys.exit(f"not a measurement, all were to be {code}:\n{text}")
    return number("Queries per second"), number(r"Average Latency \(s\)") * 1e6, spent / completed * 1e6


def once(server, names, files, seconds, folder):
    """Starts a server, measures, ends it: load in s, memory, and the three figures of each kind of query."""
    home = folder / "server"
    home.mkdir()
    command = SERVERS[server](home, names)
    process = start(0, command, home)
    try:
        load = wait(process, names[-1], 3, PORT, home)
        memory = settled(process.pid)
        asked = [ask(process, file, seconds, code) for file, code in files]
        return load, memory, asked
    finally:
        stop(process)
        shutil.rmtree(home)


def spread(values, digits):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="append", default=[])
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--servers", default=",".join(SERVERS))
    given = parser.parse_args()
    if not os.path.exists(WEIR):
        sys.exit(f"{WEIR} is not there: run cargo build --release")
    servers = given.servers.split(",")
    for server in [server for server in servers if server != "weir" and not program(server.split("-")[0])]:
        print(f"{server} is not installed and left out", flush=True)
        servers.remove(server)
    names = list(dict.fromkeys(read(given.list) if given.list else made(given.names)))
    rng = random.Random(2)
    asked = [rng.choice(names) for _ in range(100_000)]
    results = {server: [] for server in servers}
    with tempfile.TemporaryDirectory(prefix="weir-blocklist-") as path:
        folder = pathlib.Path(path)
        files = [(folder / "listed", "NXDOMAIN"), (folder / "other", "NOERROR")]
        files[0][0].write_text("".join(f"{'' if n % 2 else 'www.'}{name} A\n" for n, name in enumerate(asked)))
        files[1][0].write_text("".join(f"host{n}.passed.example A\n" for n in range(1000)))
        nsd = start(1, upstream(folder), folder)
        try:
            wait(nsd, "host.passed.example", 0, UPSTREAM, folder)
            bare = {server: once(server, names[-1:], [], 0, folder)[1] for server in servers}
            for number in range(given.rounds):
                for server in servers:
                    result = once(server, names, files, given.seconds, folder)
                    results[server].append(result)
                    load, memory, kinds = result
                    print(f"round {number + 1} {server:11} load {load:.2f} s, {memory / 2**20:.0f} MiB, " + ", ".join(
                        f"{file.name} {qps:.0f}/s {latency:.0f} us {each:.2f} us CPU" for (file, _), (qps, latency, each)
                        in zip(files, kinds)), flush=True)
        finally:
            stop(nsd)
    print(f"\n{len(names)} names, {given.rounds} rounds: median (least-greatest)")
    for server in servers:
        loads, memories, kinds = zip(*results[server])
        print(f"{server:11} load {spread(loads, 2)} s, {spread([m / 2**20 for m in memories], 0)} MiB, "
              f"{spread([(m - bare[server]) / len(names) for m in memories], 1)} bytes a name")
        for at, (file, _) in enumerate(files):
            qps, latency, each = zip(*[kind[at] for kind in kinds])
            print(f"{'':11} {file.name}: {spread(qps, 0)} queries/s, {spread(latency, 0)} us, {spread(each, 2)} us CPU a query")


if __name__ == "__main__":
    main()
