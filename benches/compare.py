#!/usr/bin/env python3
"""weir beside the floors and its peers: one table of ratios, from one run (A B A B, medians, spread).

usage: benches/compare.py [--cases local,cached,...] [--servers weir,dnsdist,...] [--rounds 5] [--seconds 2]
                          [--names 1000000] [--json FILE] [--svg FILE] [--workers] [--weir NAME=PATH]...
                          [--no-latency] [--clients N]

Builds the floors (benches/floors), and weir if it is not there; starts the floor, weir and each peer that is installed,
as benches/servers.py configures them; and gives the same load to each by turns. Servers run on one core, load and
upstream on others. CPU time of the server (all its threads, to the nanosecond) is divided by the queries: that is
steadier than throughput on a shared machine. Loopback only; all that was started is ended.

cases: local    an answer of the server's own                          floor: a reflector
       cached   one of 1000 answers in the cache                       floor: a reflector
       blocked  NXDOMAIN for names of a list of a million              floor: a reflector
       refused  REFUSED for a client that may not ask                  floor: a reflector
       forward  names that never come twice, sent on to an upstream    floor: a relay that swaps ids
       denied   silence for a client that may not ask, in a flood      floor: receiving alone
       over     silence for clients over the limit of 1 a second       floor: receiving alone

CPU and throughput: a closed loop of 64 queries from four clients, each of which asks from one port, as forwarders do; or a
flood as fast as a core sends, of which those count that were received. Latency, in `cached` and `forward`: an open loop at
half of weir's throughput; servers that cannot take as much show it (median over short slices by turns). A server without
means for a case gets a –.

--servers weir,unguarded --cases cached,forward: what it costs to be on one's guard while there is no attack.
--weir old=PATH --weir new=PATH: builds of weir by turns beside the floor, instead of the usual servers; what each takes of
    the first is told too. The way to judge a change: what one run measured says nothing about another.
--clients 500: so many clients, each with one query under way from a port of its own, as stub resolvers ask: datagrams to one
    address are what weir hands the kernel as one, and there are none then among the replies.
--workers: what it costs two workers to share a process, in `cached` and `forward`, floor and weir alike: the CPU a query of one
    worker, of two processes of one worker each, which share nothing, and of two workers of one process, by turns; each worker
    on a core of its own, the load on the last of them where there is none beside, and as many queries for each worker in all
    three. Two divided by what two take in times of the others is what two would answer with cores of their own: an estimate
    from CPU time, and not a throughput that was measured.
"""
import argparse, json, os, pathlib, platform, random, signal, socket, statistics, struct, subprocess, sys, tempfile, time

import plot, servers

PORT = 20700
PAGE = os.sysconf("SC_PAGE_SIZE")
START_MAX_S = 300
LISTED_ASKED = 100_000

# The most that weir may take in times the floor, and what an answer of each case is.
CASES = {
    "local": (1.10, "noerror"), "cached": (1.10, "noerror"), "blocked": (1.10, "nxdomain"), "refused": (1.10, "refused"),
    "forward": (1.10, "noerror"), "denied": (1.15, None), "over": (1.15, None),
}
TIMED = ("cached", "forward")

# For --workers: the threads of each process. How many clients and queries there are for a worker: the kernel deals clients
# out to the threads of a process by their address and port, and with so many each gets about half.
ALONE = {"": (1,)}
WAYS = {"x1": (1,), "1+1": (1, 1), "x2": (2,)}
WORKER_CLIENTS, WORKER_WINDOW = 32, 64
P99_ADDED_MAX_US = 50
WORKERS_GAIN_MIN = 1.8

# Latency is the median over short slices by turns: what else the machine does spoils some of them, and not all.
SLICES, SLICE_S = 8, 0.25


def build_floors():
    manifest = servers.ROOT / "benches/floors/Cargo.toml"
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", manifest], check=True)


class Cores:
    """Servers first, load last, the upstream beside the load unless there is a core for it."""

    def __init__(self, workers):
        free = sorted(os.sched_getaffinity(0))
        self.server = free[:workers]
        rest = free[workers:] or free
        self.load, self.upstream = rest[-1:], rest[-2:-1] or rest[-1:]

    def on(self, cores, command):
        return ["taskset", "-c", ",".join(map(str, cores)), *command]


def cpu_us(pid):
    """CPU time that all threads have had. A thread that ends takes its share along: servers here keep theirs."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        total += int(pathlib.Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
    return total / 1e3


def resident_mib(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20


def queue(ports):
    """Bytes that wait in the UDP sockets at these ports, and datagrams that they lost."""
    waiting = lost = 0
    for line in pathlib.Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) in ports:
            waiting += int(fields[4].split(":")[1], 16)
            lost += int(fields[-1])
    return waiting, lost


def ask(name, port, source=servers.GUEST):
    """The code of the answer and how many records it has, asked from a client that is served; None: silence."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)
        try:
            sock.bind((source, 0))
            sock.connect(("127.0.0.1", port))
            sock.send(struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1")
            answer = sock.recv(512)
            return answer[3] & 15, answer[7]
        except OSError:
            return None


class Server:
    """A process that runs, for one case."""

    def __init__(self, name, case, command, port, cores, home):
        self.name, self.case, self.port, self.cores = name, case, port, cores
        self.log = home / "out"
        with open(self.log, "w") as log:
            command = ["taskset", "-c", ",".join(map(str, cores)), *command]
            self.process = subprocess.Popen(command, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait(self, listed):
        """Until it does what the case is about."""
        begun = time.monotonic()
        while not self.serves(listed):
            if self.process.poll() is not None or time.monotonic() - begun > START_MAX_S:
                raise RuntimeError(f"{self.name} does not serve {self.case}: {self.log.read_text()[-1500:]}")
            time.sleep(0.05)

    def serves(self, listed):
        if self.name == "floor" and self.case in ("denied", "over"):
            return any(f":{self.port:04X} " in line for line in open("/proc/net/udp"))
        if self.case == "blocked" and self.name != "floor":
            answer = ask(listed, self.port)
            return answer is not None and answer[1] == 0 and answer[0] in (0, 3)
        if self.case == "over" and ask("host1.example.com", self.port):
            return True
        answer = ask("host1.example.com", self.port)
        return answer is not None and answer[0] == 0 and answer[1] > 0

    def spread_out(self):
        """Gives each of its busiest threads a core of its own."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        busiest = sorted(os.listdir(tasks), key=lambda task: int((tasks / task / "schedstat").read_text().split()[0]))
        for task, core in zip(reversed(busiest), self.cores):
            os.sched_setaffinity(int(task), {core})

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Contestant:
    """What takes its turns: a server, or several that do it together."""

    def __init__(self, label, parts, cores, how):
        self.label, self.parts, self.cores, self.how, self.figures = label, parts, cores, how, []
        self.name, self.case, self.ports = parts[0].name, parts[0].case, [part.port for part in parts]

    def cpu_us(self):
        return sum(cpu_us(part.process.pid) for part in self.parts)

    def stop(self):
        for part in self.parts:
            part.stop()


def load(cores, ports, seconds, *how):
    command = [str(servers.FLOORS), "load", ",".join(f"127.0.0.1:{port}" for port in ports), "--seconds", str(seconds), *how]
    ran = subprocess.run(cores.on(cores.load, command), capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(command)}: {ran.stderr}")
    return json.loads(ran.stdout)


def measure(server, seconds):
    """CPU a query, throughput, latency, memory; raises when what came is not what the case is about."""
    expected, how, ports = servers.ANSWERS.get((server.name, server.case), CASES[server.case][1]), server.how, server.ports
    if expected is None:
        how = (*how, "--flood", "1")
    load(server.cores, ports, 0.2, *how)
    while queue(ports)[0]:
        time.sleep(0.01)
    spent, lost = server.cpu_us(), queue(ports)[1]
    result = load(server.cores, ports, seconds, *how)
    while queue(ports)[0]:
        time.sleep(0.001)
    spent = server.cpu_us() - spent
    lost = queue(ports)[1] - lost
    if expected is None:
        queries = result["sent"] - lost
        wrong = result["answered"] > result["sent"] / 1000
    else:
        queries = result["answered"]
        wrong = result["lost"] > result["sent"] / 200 or result[expected] < queries * 0.999
    if queries < 1000 or wrong:
        raise RuntimeError(f"{server.label} {server.case}: not a measurement: {result}")
    mib = sum(resident_mib(part.process.pid) for part in server.parts)
    return {"cpu_us": spent / queries, "qps": queries / seconds, "dropped": lost, "mib": mib,
            **{key: result[key] for key in ("p50_us", "p99_us", "p999_us")}}


def names_of(case, folder, listed):
    if case == "forward":
        return ("--pattern", "%x.example.com")
    path = folder / f"asked-{case}"
    if case == "blocked":
        rng = random.Random(2)
        path.write_text("".join(f"{'' if n % 2 else 'www.'}{rng.choice(listed)} A\n" for n in range(LISTED_ASKED)))
    else:
        path.write_text("".join(f"host{n}.example.com A\n" for n in range(1000)))
    return ("--names", str(path))


def made(count):
    """Names as long as those of published lists."""
    rng, letters, names = random.Random(1), "abcdefghijklmnopqrstuvwxyz", {}
    while len(names) < count:
        name = "".join(rng.choices(letters, k=rng.randrange(6, 16)))
        name += rng.choice([".com", ".net", ".org", ".info", ".co.uk"])
        names["".join(rng.choices(letters, k=5)) + "." + name if rng.random() < 0.4 else name] = None
    return list(names)


def start(label, name, case, threads, port, how, folder, upstream):
    """A contestant whose processes have so many threads, at ports from `port` on; None: no means for the case."""
    homes = [folder / f"{case}-{label.replace(' ', '-')}-{number}" for number in range(len(threads))]
    commands = []
    for number, (home, count) in enumerate(zip(homes, threads)):
        home.mkdir()
        commands.append(servers.SERVERS[name](case, home, port + number, upstream, count, str(folder / "listed")))
    if None in commands:
        return None
    cores, parts = Cores(sum(threads)), []
    for number, command in enumerate(commands):
        own = cores.server if len(threads) == 1 else cores.server[number:number + 1]
        parts.append(Server(name, case, command, port + number, own, homes[number]))
    return Contestant(label, parts, cores, how)


def run_case(case, chosen, given, folder, upstream, listed, ways=ALONE):
    """The figures of each round, by server; None for one that has no means for the case or does not do it."""
    running, figures, port = [], {}, PORT + 1
    names = names_of(case, folder, listed)
    if given.clients:
        names = (*names, "--sources", str(given.clients), "--window", str(given.clients))
    try:
        for way, threads in ways.items():
            how, workers = names, sum(threads)
            if ways is not ALONE:
                how = (*names, "--sources", str(WORKER_CLIENTS * workers), "--window", str(WORKER_WINDOW * workers))
            for name in chosen:
                label = f"{name} {way}".strip()
                figures[label] = None
                server = start(label, name, case, threads, port, how, folder, upstream)
                port += len(threads)
                if server:
                    running.append(server)
        for server in list(running):
            try:
                for part in server.parts:
                    part.wait(listed[0] if listed else "")
                if ways is not ALONE:
                    load(server.cores, server.ports, 0.5, *server.how)
                    for part in server.parts:
                        part.spread_out()
            except RuntimeError as why:
                print(why, file=sys.stderr)
                running.remove(server)
                server.stop()
        for number in range(given.rounds):
            for server in list(running):
                try:
                    result = measure(server, given.seconds)
                    server.figures.append(result)
                    print(f"{case} round {number + 1} {server.label:11} {result['cpu_us']:7.2f} us CPU, {result['qps']:8.0f}/s",
                          flush=True)
                except RuntimeError as why:
                    print(why, file=sys.stderr)
                    running.remove(server)
                    server.figures = []
                    server.stop()
        build = next((server for server in running if server.name in servers.BUILDS), None)
        if case in TIMED and ways is ALONE and build and not given.no_latency:
            rate = round(statistics.median(result["qps"] for result in build.figures) / 2)
            for number in range(given.rounds):
                slices = [[load(server.cores, server.ports, SLICE_S, *server.how, "--rate", str(rate)) for server in running]
                          for _ in range(SLICES)]
                for server, parts in zip(running, zip(*slices)):
                    late = {key: statistics.median(part[key] for part in parts) for key in ("p50_us", "p99_us", "p999_us")}
                    server.figures[number]["half"] = {"rate": rate, "lost": sum(part["lost"] for part in parts), **late}
        for server in running:
            figures[server.label] = server.figures or None
    finally:
        for server in running:
            server.stop()
    return figures


def middle(values, digits):
    values = list(values)
    return f"{statistics.median(values):.{digits}f}"


def ratios(figures, floor):
    return [one["cpu_us"] / other["cpu_us"] for one, other in zip(figures, floor)]


def spread(values, digits=2):
    return f"{middle(values, digits)} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(results):
    print(f"\n{'case':8} {'server':9} {'CPU us':>7} {'x floor':>8} {'(spread)':>13} {'goal':>5} {'queries/s':>10}"
          f" {'p50 us':>8} {'p99 us':>8} {'p99.9 us':>9} {'MiB':>6}")
    for case, by_server in results.items():
        for name, rounds in by_server.items():
            if not rounds:
                print(f"{case:8} {name:9} {'–':>7}")
                continue
            of_floor = sorted(ratios(rounds, by_server["floor"])) if by_server.get("floor") else []
            ratio = f"{'–':>8} {'':13}"
            if of_floor:
                ratio = f"{statistics.median(of_floor):8.2f} ({of_floor[0]:5.2f}-{of_floor[-1]:5.2f})"
            goal = f"{CASES[case][0]:.2f}" if name in servers.BUILDS else ""
            halves = [one["half"] for one in rounds if "half" in one]
            late = [f"{middle((half[key] for half in halves), 0)}" if halves else "" for key in ("p50_us", "p99_us", "p999_us")]
            print(f"{case:8} {name:9} {middle((one['cpu_us'] for one in rounds), 2):>7} {ratio} {goal:>5}"
                  f" {middle((one['qps'] for one in rounds), 0):>10} {late[0]:>8} {late[1]:>8} {late[2]:>9}"
                  f" {middle((one['mib'] for one in rounds), 0):>6}")
    for case, rows in results.items():
        builds = [name for name in servers.BUILDS if rows.get(name)]
        for name in builds[1:]:
            print(f"{case}: {name} takes {spread(ratios(rows[name], rows[builds[0]]), 3)} of the CPU of {builds[0]}")
        for name in builds if rows.get("floor") else []:
            pairs = [(one["half"], floor["half"]) for one, floor in zip(rows[name], rows["floor"]) if "half" in one]
            if pairs:
                print(f"{case}: at {pairs[0][0]['rate']}/s, half of what {builds[0]} does, {name} adds"
                      f" {spread([one['p99_us'] - floor['p99_us'] for one, floor in pairs], 0)} us to the floor's p99;"
                      f" the goal is {P99_ADDED_MAX_US} at most")


def workers_table(results):
    print("\nFrom CPU a query, two workers of one process beside two processes of one worker each, and beside one worker alone:"
          "\nan estimate of what two answer with cores of their own, in times of one; not a throughput that was measured."
          "\nEach process of weir has a control thread: two apart have two, which favours the two workers of one process.")
    for case, by_server in results.items():
        floor_gains = None
        for name in ("floor", *servers.BUILDS):
            one, apart, two = (by_server.get(f"{name} {way}") for way in WAYS)
            if not one or not apart or not two:
                print(f"{case} {name}: –")
                continue
            gains = [2 / ratio for ratio in ratios(two, apart)]
            print(f"{case:8} {name:6} {spread(ratios(two, apart))} times the CPU of two apart: {spread(gains)} times one;"
                  f" {spread(ratios(two, one))} times that of one alone: {spread([2 / ratio for ratio in ratios(two, one)])}")
            if name == "floor":
                floor_gains = gains
                continue
            print(f"{case:8} {name:6} two do {spread(gains)} times what one does; the goal is {WORKERS_GAIN_MIN} at least")
            if floor_gains:
                parts = [own / floor for own, floor in zip(gains, floor_gains)]
                print(f"{case:8} {name:6} that is {spread(parts)} of what two of the floor do")


def drawn(results):
    groups = {case: {name: statistics.median(ratios(rounds, by_server["floor"])) if rounds else None
                     for name, rounds in by_server.items() if name != "floor"}
              for case, by_server in results.items() if by_server.get("floor")}
    goals = {case: CASES[case][0] for case in groups}
    return plot.bars("weir and its peers beside the floor", groups, goals, list(servers.SERVERS))


def named(word):
    """A build of weir as NAME=PATH."""
    name, _, path = word.partition("=")
    if not path or name in servers.SERVERS and name not in servers.BUILDS or not os.access(path, os.X_OK):
        raise argparse.ArgumentTypeError(f"{word!r} is not NAME=PATH of a program, with a name that no peer has")
    return name, path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--servers", default=",".join(servers.USUAL))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--json")
    parser.add_argument("--svg")
    parser.add_argument("--workers", action="store_true")
    parser.add_argument("--clients", type=int, help="at most 1000, with one query under way each")
    parser.add_argument("--no-latency", action="store_true", help="leave out the open loop: CPU and throughput alone")
    parser.add_argument("--weir", metavar="NAME=PATH", action="append", type=named, help="a build to compare; repeatable")
    given = parser.parse_args()
    if given.clients is not None and (given.workers or not 1 <= given.clients <= 1000):
        parser.error("--clients takes 1 to 1000, and --workers has clients of its own")
    if given.weir:
        if len({name for name, _ in given.weir}) < len(given.weir):
            parser.error("--weir: two builds of one name")
        servers.BUILDS.clear()
        for name, path in given.weir:
            servers.add_build(name, path)
        given.servers = ",".join(servers.BUILDS)
    # So that what was started is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cases = given.cases.split(",")
    if unknown := [case for case in cases if case not in CASES]:
        parser.error(f"no such case: {', '.join(unknown)}")
    build_floors()
    if not given.weir and not os.path.exists(servers.WEIR):
        subprocess.run(["cargo", "build", "--release", "--locked"], cwd=servers.ROOT, check=True)
    chosen, versions = ["floor"], {}
    for name in (name for name in given.servers.split(",") if name != "floor"):
        versions[name] = servers.version(name)
        print(f"{name} {versions[name]}" if versions[name] else f"{name} is not installed and left out", flush=True)
        if versions[name]:
            chosen.append(name)
    ways, results = ALONE, {}
    if given.workers:
        ways, chosen, cases = WAYS, ["floor", *servers.BUILDS], [case for case in cases if case in TIMED]
    with tempfile.TemporaryDirectory(prefix="weir-compare-") as path:
        folder = pathlib.Path(path)
        listed = made(given.names) if "blocked" in cases else []
        (folder / "listed").write_text("".join(f"{name}\n" for name in listed))
        cores = Cores(max(map(sum, ways.values())))
        upstream = subprocess.Popen(cores.on(cores.upstream, [str(servers.FLOORS), "reflect", f"127.0.0.1:{PORT}"]))
        try:
            for case in cases:
                results[case] = run_case(case, chosen, given, folder, PORT, listed, ways)
        finally:
            upstream.terminate()
            upstream.wait()
    if given.workers:
        workers_table(results)
    else:
        table(results)
    if given.json:
        machine = {"cores": os.cpu_count(), "system": platform.release(), "machine": platform.machine()}
        how = {"rounds": given.rounds, "seconds": given.seconds}
        document = {"machine": machine, "versions": versions, **how, "results": results}
        pathlib.Path(given.json).write_text(json.dumps(document, indent=1) + "\n")
    if given.svg and not given.workers:
        pathlib.Path(given.svg).write_text(drawn(results))


if __name__ == "__main__":
    main()
