#!/usr/bin/env python3
"""What a query costs as things grow: a table, and a plot.

usage: benches/scale.py [--max 10000000] [--only PART] [--json FILE] [--svg FILE]

Names of the filter to 10^7, answers in the cache to 10^6, networks of groups to 10^5 and upstreams to 100 come from
benches/scale.rs, in nanoseconds without a socket; names and answers in groups of eight that are foreseen, as a worker with
much to do looks them up, and one after the other, as queries that come alone. TCP connections to 10 000 are measured here:
weir holds them all and is asked over one after the other; the figure is the CPU time that weir takes a query, answers from
the cache. --max bounds all sizes: 10^7 names need 3 GiB while they are made.

Last comes the exponent of each growth, as of a straight line through the points in the plot: 0 does not grow, 1 is
linear. Logarithmic growth over these sizes has 0.1 to 0.2, and that tables stop fitting into the processor's caches adds to
it: how much it is for one read of memory stands beside the answers as their floor. What has over 0.4 is told as too much,
and the command fails.
"""
import argparse, json, math, os, pathlib, resource, select, signal, socket, statistics, struct, subprocess, sys, tempfile, time

import compare, plot, servers

CONNECTIONS = [10, 100, 1_000, 10_000]
QUERIES = 20_000
ROUNDS = 5
AT_ONCE = 64
EXPONENT_MAX = 0.4


def core(most, only):
    """subject -> [(size, median, least, greatest)], in nanoseconds."""
    ran = subprocess.run(["cargo", "bench", "--locked", "--bench", "scale", "--", only], cwd=servers.ROOT, text=True,
                         stdout=subprocess.PIPE, check=True, env={**os.environ, "WEIR_SCALE_MAX": str(most)})
    found = {}
    for line in ran.stdout.splitlines():
        if line.count("\t") == 4:
            subject, size, *times = line.split("\t")
            found.setdefault(subject, []).append((int(size), *map(float, times)))
    return found


def open_connections(sockets, count, port):
    while len(sockets) < count:
        one = socket.create_connection(("127.0.0.1", port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets.append(one)


def ask_all(sockets, poll, by_number, begin):
    """Asks QUERIES queries, AT_ONCE at a time, each over the connection after the one before; where it ended."""
    labels = b"\5host1\7example\3com\0\0\1\0\1"
    query = struct.pack("!7H", 12 + len(labels), 7, 0x100, 1, 0, 0, 0) + labels
    at = begin
    for _ in range(0, QUERIES, AT_ONCE):
        waiting = set()
        for _ in range(min(AT_ONCE, len(sockets))):
            sockets[at].sendall(query)
            waiting.add(sockets[at].fileno())
            at = (at + 1) % len(sockets)
        until = time.monotonic() + 5
        while waiting:
            if time.monotonic() > until:
                raise RuntimeError(f"{len(waiting)} of {len(sockets)} connections got no answer")
            for number, _ in poll.poll(1):
                answer = by_number[number].recv(4096)
                if len(answer) < 14 or answer[5] & 15:
                    raise RuntimeError(f"not an answer: {answer[:20]}")
                waiting.discard(number)
    return at


def connections(most):
    """As `core`, by the number of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sizes = [size for size in CONNECTIONS if size <= min(most, hard - 100)]
    cores, found, sockets = compare.Cores(1), [], []
    os.sched_setaffinity(0, cores.load)
    with tempfile.TemporaryDirectory(prefix="weir-scale-") as path:
        folder = pathlib.Path(path)
        command = servers.weir("cached", folder, compare.PORT + 1, compare.PORT, 1, "")
        upstream = subprocess.Popen([str(servers.FLOORS), "reflect", f"127.0.0.1:{compare.PORT}"])
        server = compare.Server("weir", "cached", command, compare.PORT + 1, cores.server, folder)
        try:
            server.wait("")
            for size in sizes:
                open_connections(sockets, size, server.port)
                by_number = {one.fileno(): one for one in sockets}
                with select.epoll() as poll:
                    for number in by_number:
                        poll.register(number, select.EPOLLIN)
                    at = ask_all(sockets, poll, by_number, 0)
                    times = []
                    for _ in range(ROUNDS):
                        spent = compare.cpu_us(server.process.pid)
                        at = ask_all(sockets, poll, by_number, at)
                        asked = math.ceil(QUERIES / AT_ONCE) * min(AT_ONCE, size)
                        times.append((compare.cpu_us(server.process.pid) - spent) / asked * 1e3)
                found.append((size, statistics.median(times), min(times), max(times)))
        finally:
            for one in sockets:
                one.close()
            server.stop()
            upstream.terminate()
            upstream.wait()
    return found


def exponent(points):
    """Of the growth: the slope of the line through the logarithms."""
    if len(points) < 2:
        return math.nan
    sizes, times = ([math.log(point[at]) for point in points] for at in (0, 1))
    return statistics.linear_regression(sizes, times).slope


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max", type=int, default=10_000_000)
    parser.add_argument("--only", default="")
    parser.add_argument("--json")
    parser.add_argument("--svg")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not os.path.exists(servers.WEIR):
        sys.exit(f"{servers.WEIR} is not there: run cargo build --release")
    compare.build_floors()
    found = core(given.max, given.only)
    if given.only in "TCP connections":
        found["TCP connections"] = connections(given.max)
    worst = []
    print(f"{'':36} {'size':>9} {'ns':>9} {'(spread)':>20}")
    for subject, points in found.items():
        for size, time, least, greatest in points:
            print(f"{subject:36} {size:9} {time:9.1f} ({least:8.1f}-{greatest:9.1f})")
        slope = exponent(points)
        print(f"{subject:36} grows with exponent {slope:.2f}")
        if slope > EXPONENT_MAX and not subject.startswith("floor"):
            worst.append(f"{subject}: grows with exponent {slope:.2f}, and {EXPONENT_MAX} is the most")
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps(found, indent=1) + "\n")
    if given.svg:
        series = {subject: [(size, time) for size, time, *_ in points] for subject, points in found.items()}
        pathlib.Path(given.svg).write_text(plot.lines("What a query costs as things grow", series, "how many", "ns"))
    if worst:
        sys.exit("\n".join(worst))


if __name__ == "__main__":
    main()
