#!/usr/bin/env python3
"""What other ways through the kernel bring a UDP server: each beside the way that it would replace, by turns (A B A B).

usage: benches/ways.py [--parts ways,together,cores,memory] [--only ring,...] [--clients N] [--rounds 4] [--seconds 0.6]
                       [--names 1000000] [--json FILE]

Builds the floors and starts their reflector (benches/floors, ways.rs), which does the least that a DNS server can do, once
in the usual way and once in another, for one measurement at a time; both get the same load on loopback. So a difference is
that of the way alone, and the most that a server can gain by it: whatever else a server does makes it smaller.

parts: ways      on one core, load on another: a closed loop of 64 queries from four clients, or of one from each of --clients;
                 and an open loop at half of what the usual way does, with the latency and once more the CPU time
       together  the same, with queries of a client that come as one, as a card (or a sender) joins them that can
       cores     two threads on two cores, with a load on each core: which thread gets what comes in on a core
       memory    not a way of datagrams: weir with a list of --names names, started and loaded again, with other allocators
                 (weir as WEIR says or as it lies in target/release; without it there are no such rows)

CPU is that of the server, to the nanosecond, by the queries. The first row holds the usual way against itself: what it differs
by, another row may differ by without a reason. What a system cannot do is told instead of a row. Loopback only; all that was
started is ended. On loopback no card is polled and none joins datagrams: what the system can poll there is told.
"""
import argparse, concurrent.futures, contextlib, copy, glob, json, os, pathlib, platform, re, signal, socket
import statistics, subprocess, sys, tempfile, time

sys.dont_write_bytecode = True
import compare, servers

PORT = 20650
SO_INCOMING_NAPI_ID = 56
CORES = 2
RELOADS = 3
START_MAX_S = 5

PLAIN = ("recvmmsg, sendmmsg", ())
GROUPED = ("+ UDP_SEGMENT", ("--segment", "1"))
# As weir does it: its runtime waits, for many sockets at once.
RUNTIME = ("epoll + UDP_SEGMENT", ("--wait", "epoll", *GROUPED[1]))
HASHED = ("threads by address", ("--steer", "hash"))

# Name, what it is called, the words for the reflector, and what it is held against.
WAYS = {
    "ways": [
        ("same", "the same again", (), PLAIN),
        ("segment", "UDP_SEGMENT", GROUPED[1], PLAIN),
        ("ring", "io_uring", ("--by", "uring"), PLAIN),
        ("ring-segment", "io_uring + UDP_SEGMENT", ("--by", "uring", *GROUPED[1]), GROUPED),
        ("ring-runtime", "io_uring + UDP_SEGMENT", ("--by", "uring", *GROUPED[1]), RUNTIME),
        ("epoll", "epoll before", ("--wait", "epoll"), PLAIN),
        ("spin", "never waits", ("--wait", "spin"), PLAIN),
        ("busy", "SO_BUSY_POLL 50 us", ("--busy-us", "50"), PLAIN),
        ("pause", "waits 50 us for more", ("--wait", "pause"), PLAIN),
        ("batch16", "batches of 16, not 64", ("--batch", "16"), PLAIN),
        ("batch32", "batches of 32, not 64", ("--batch", "32"), PLAIN),
        ("batch128", "batches of 128, not 64", ("--batch", "128"), PLAIN),
    ],
    "together": [
        ("gro", "UDP_GRO", ("--by", "gro"), PLAIN),
        ("gro-segment", "UDP_GRO + UDP_SEGMENT", ("--by", "gro", *GROUPED[1]), GROUPED),
    ],
    "cores": [
        ("incoming", "SO_INCOMING_CPU", ("--steer", "incoming"), HASHED),
        ("bpf", "BPF by core", ("--steer", "bpf"), HASHED),
    ],
}
PARTS = (*WAYS, "memory")


class Stage:
    """Where a part is measured: cores, and the loads that a server gets at once."""

    def __init__(self, part, given, folder):
        self.folder, self.threads = folder, CORES if part == "cores" else 1
        self.cores = compare.Cores(self.threads)
        names = compare.names_of("cached", folder, [])
        clients = given.clients or 4
        window = given.clients or 64
        if part == "cores":
            # Enough clients that both threads get about half of them by their address.
            clients, window = given.clients or 64, given.clients or 128
        loads = self.threads
        self.loads = []
        for number in range(loads):
            cores = copy.copy(self.cores)
            if part == "cores":
                cores.load = self.cores.server[number:number + 1]
            how = (*names, "--sources", str(clients // loads), "--window", str(window // loads),
                   "--from", f"127.0.{1 + 8 * number}.1")
            self.loads.append((cores, (*how, "--together", "1") if part == "together" else how))

    def ask(self, seconds, *how):
        """What all loads did, as one."""
        with concurrent.futures.ThreadPoolExecutor(len(self.loads)) as pool:
            done = [pool.submit(compare.load, cores, PORT, seconds, *words, *how) for cores, words in self.loads]
            parts = [one.result() for one in done]
        return {**{key: sum(part[key] for part in parts) for key in ("sent", "answered", "lost", "noerror", "qps")},
                **{key: max(part[key] for part in parts) for key in ("p50_us", "p99_us")}}

    @contextlib.contextmanager
    def server(self, words):
        home = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        command = [str(servers.FLOORS), "reflect", f"127.0.0.1:{PORT}", str(self.threads), *words]
        server = compare.Server("floor", "cached", command, PORT, self.cores, home)
        try:
            begun = time.monotonic()
            while not server.serves(""):
                if server.process.poll() is not None or time.monotonic() - begun > START_MAX_S:
                    raise RuntimeError(server.log.read_text() or "it does not answer")
                time.sleep(0.01)
            yield server
        finally:
            server.stop()


def measure(stage, server, seconds, *how):
    """CPU for each query; raises when answers are missing."""
    spent = compare.cpu_us(server.process.pid)
    result = stage.ask(seconds, *how)
    spent = compare.cpu_us(server.process.pid) - spent
    if result["answered"] < 1000 or result["noerror"] < result["sent"] * 0.995:
        raise RuntimeError(f"not a measurement: {result}")
    return {"cpu_us": spent / result["answered"], **result}


def round_of(stage, words, seconds, rate):
    """As fast as it goes, and at a rate."""
    with stage.server(words) as server:
        stage.ask(0.1)
        return {"full": measure(stage, server, seconds), "half": measure(stage, server, seconds * 0.6, "--rate", str(rate))}


def run_part(part, chosen, given, folder):
    """The figures of each way and of what it is held against, round by round; or why there are none."""
    stage, results = Stage(part, given, folder), {}
    usual = (HASHED if part == "cores" else PLAIN)[1]
    with stage.server(usual) as server:
        stage.ask(0.2)
        rate = round(measure(stage, server, given.seconds)["qps"] / 2 / len(stage.loads))
    for name, title, words, (beside, its_words) in chosen:
        rounds = []
        try:
            for _ in range(given.rounds):
                rounds.append({"beside": round_of(stage, its_words, given.seconds, rate),
                               "way": round_of(stage, words, given.seconds, rate)})
        except RuntimeError as why:
            print(f"{title}: {str(why).strip().splitlines()[-1]}", file=sys.stderr)
            rounds = []
        results[name] = {"title": title, "beside": beside, "rate": rate * len(stage.loads), "rounds": rounds}
        print_row(results[name])
    return results


def print_head(part, given):
    load = f"{given.clients} clients" if given.clients else "usual clients"
    print(f"\n{part}, {load}: CPU us a query, as a part of that of the other way, of {given.rounds} rounds\n"
          f"{'way':24} {'beside':20} {'CPU us':>7} {'ratio':>6} {'(spread)':>13} {'queries/s':>10} {'ratio':>6} |"
          f" {'at half':>8} {'ratio':>6} {'(spread)':>13} {'p50 us':>14} {'p99 us':>14}", flush=True)


def print_row(row):
    rounds = row["rounds"]
    if not rounds:
        print(f"{row['title']:24} {row['beside']:20} {'–':>7}", flush=True)
        return

    def middle(pace, key, who="way"):
        return statistics.median(one[who][pace][key] for one in rounds)

    def ratio(pace, key):
        return sorted(one["way"][pace][key] / one["beside"][pace][key] for one in rounds)

    def cpu(pace):
        ratios = ratio(pace, "cpu_us")
        return f"{middle(pace, 'cpu_us'):7.2f} {statistics.median(ratios):6.3f} ({ratios[0]:5.2f}-{ratios[-1]:5.2f})"

    def late(key):
        return f"{middle('half', key, 'beside'):5.0f} -> {middle('half', key):5.0f}"

    print(f"{row['title']:24} {row['beside']:20} {cpu('full')} {middle('full', 'qps'):10.0f}"
          f" {statistics.median(ratio('full', 'qps')):6.3f} |  {cpu('half')} {late('p50_us')} {late('p99_us')}", flush=True)


def polled_on_loopback():
    """The number of the queue that the system would poll for a datagram on loopback; 0: there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.sendto(b"datagram", one.getsockname())
        one.recv(100)
        return one.getsockopt(socket.SOL_SOCKET, SO_INCOMING_NAPI_ID)


def allocators():
    """What there is, and how it is chosen."""
    found = {"as it comes": {}, "MALLOC_ARENA_MAX=1": {"MALLOC_ARENA_MAX": "1"}, "MALLOC_ARENA_MAX=2": {"MALLOC_ARENA_MAX": "2"}}
    for name in ("jemalloc", "mimalloc", "tcmalloc_minimal", "tcmalloc"):
        paths = sorted(glob.glob(f"/usr/lib/*/lib{name}.so.*") + glob.glob(f"/usr/lib/lib{name}.so.*"))
        if paths:
            found[name] = {"LD_PRELOAD": paths[0]}
    return found


def status_mib(pid, key):
    return int(re.search(rf"{key}:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def start_and_reload(folder, listed, environment):
    """One start of weir with a list: seconds until it serves, CPU time, memory; and those of reloads."""
    home = pathlib.Path(tempfile.mkdtemp(dir=folder))
    command = servers.weir("blocked", home, PORT, PORT + 1, 2, str(folder / "listed"))
    command = ["env", *(f"{key}={value}" for key, value in environment.items()), *command]
    cores = compare.Cores(1)
    cores.server = sorted(os.sched_getaffinity(0))
    begun = time.monotonic()
    server = compare.Server("weir", "blocked", command, PORT, cores, home)
    try:
        server.wait(listed[0])
        # `env` has become weir by now, under the same number.
        pid = server.process.pid
        took = {"start_s": time.monotonic() - begun, "start_peak_mib": status_mib(pid, "VmHWM")}
        time.sleep(1)
        took |= {"mib": status_mib(pid, "VmRSS")}
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
        text, reloads = (home / "policy/lists/names.txt").read_text(), []
        for number in range(RELOADS):
            (home / "policy/lists/names.txt").write_text(f"{text}added{number}.example.net\n")
            done = subprocess.run([servers.WEIR, "reload", "--socket", str(home / "sock")], capture_output=True, text=True)
            loaded = re.search(r"loaded in (\d+) ms", done.stdout)
            if done.returncode or not loaded:
                raise RuntimeError(f"a reload failed: {done.stdout}{done.stderr}")
            reloads.append(int(loaded[1]))
        took |= {"reload_ms": statistics.median(reloads), "reload_peak_mib": status_mib(pid, "VmHWM")}
        time.sleep(1)
        return took | {"mib_after": status_mib(pid, "VmRSS")}
    finally:
        server.stop()


def run_memory(given, folder):
    if not os.access(servers.WEIR, os.X_OK):
        print(f"memory: there is no {servers.WEIR}: build weir, or say where it is with WEIR", file=sys.stderr)
        return {}
    listed = compare.made(given.names)
    (folder / "listed").write_text("".join(f"{name}\n" for name in listed))
    found = allocators()
    results = {name: [] for name in found}
    for _ in range(given.rounds):
        for name, environment in found.items():
            results[name].append(start_and_reload(folder, listed, environment))
    columns = {"start_s": "start s", "start_peak_mib": "MiB most", "mib": "MiB then", "reload_ms": "reload ms",
               "reload_peak_mib": "MiB most", "mib_after": "MiB then"}
    print(f"\nmemory: weir with {given.names} names, {given.rounds} starts with {RELOADS} reloads each; middle and range;"
          " starts are seen to within 0.05 s")
    print(f"{'allocator':20}" + "".join(f" {title:>21}" for title in columns.values()))
    for name, rounds in results.items():
        cells = (compare.spread([one[key] for one in rounds], 2 if key == "start_s" else 0) for key in columns)
        print(f"{name:20}" + "".join(f" {cell:>21}" for cell in cells), flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--only", help="these ways: " + ", ".join(way[0] for ways in WAYS.values() for way in ways))
    parser.add_argument("--clients", type=int, help="at most 1000, with one query under way each")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=0.6)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--json")
    given = parser.parse_args()
    parts = given.parts.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}")
    only = given.only.split(",") if given.only else None
    if only and (unknown := set(only) - {way[0] for ways in WAYS.values() for way in ways}):
        parser.error(f"no such way: {', '.join(sorted(unknown))}")
    if given.clients is not None and not CORES <= given.clients <= 1000:
        parser.error(f"--clients takes {CORES} to 1000")
    if given.rounds < 1 or given.seconds <= 0:
        parser.error("at least one round, and some time for each")
    # So that what was started is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    compare.build_floors()
    print(f"Linux {platform.release()}, {os.cpu_count()} cores; queue that can be polled for a datagram on loopback: "
          f"{polled_on_loopback() or 'none'}")
    results = {}
    with tempfile.TemporaryDirectory(prefix="weir-ways-") as path:
        folder = pathlib.Path(path)
        for part in parts:
            if part == "memory":
                results[part] = run_memory(given, folder)
                continue
            chosen = [way for way in WAYS[part] if not only or way[0] in only]
            if part == "cores" and len(os.sched_getaffinity(0)) < CORES:
                print(f"cores: there are fewer than {CORES}", file=sys.stderr)
                continue
            if chosen:
                print_head(part, given)
                results[part] = run_part(part, chosen, given, folder)
    if given.json:
        machine = {"cores": os.cpu_count(), "system": platform.release(), "machine": platform.machine()}
        pathlib.Path(given.json).write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
