#!/usr/bin/env python3
"""CPU per query of weir beside the floors, as ratios from one run (A B A B, medians, spread).

usage: benches/floors.py FLOORS [--rounds 5] [--seconds 4] [--guards]

FLOORS is a folder with reflect.c, nullproxy.c and blast.c: a reflector that answers with the least work a socket server
can do, a relay that only swaps ids, and a load generator. They are built into a temporary folder. The server under
test runs on core 0, load and upstream on core 1; CPU is read from /proc/PID/stat before and after and divided by the
queries answered, which is steadier than throughput on a shared machine. Loopback only; ends by itself.

rows: cached   weir answering from its cache, against reflect
      forward  weir with its cache off before reflect, against nullproxy before reflect
--guards: both rows of weir with the default policy, against weir with [storm], [cookies] and [top] off: what it costs to
be on one's guard while there is no attack
"""
import argparse, os, pathlib, re, signal, statistics, subprocess, sys, tempfile, time

TICK = os.sysconf("SC_CLK_TCK")
PORT = 20530

# More of limits.toml, to see what a section costs: LIMITS=$'[storm]\nmode = "off"\n' benches/floors.py ...
LIMITS = os.environ.get("LIMITS", "")
UNGUARDED = '[storm]\nmode = "off"\n[cookies]\nmode = "off"\n'


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def start(core, *command):
    return subprocess.Popen(["taskset", "-c", str(core), *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(8)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def blast(tools, port, seconds, *how):
    line = subprocess.run(["taskset", "-c", "1", f"{tools}/blast", "-s", "127.0.0.1", "-p", str(port), "-l", str(seconds),
                           "-w", "64", "-n", "4", "-a", "127.0.1.1", *how], capture_output=True, text=True, check=True).stdout
    found = dict(zip(*[iter(re.sub(r"\s+", " ", line).split())] * 2))
    return {key: float(value) for key, value in found.items()}


def measure(tools, server, port, seconds, *how):
    blast(tools, port, 0.5, *how)
    before = cpu(server.pid)
    result = blast(tools, port, seconds, *how)
    spent = cpu(server.pid) - before
    if result["answered"] < 1000 or result["lost"] > result["sent"] / 1000:
        sys.exit(f"not a measurement: {result}")
    return spent / result["answered"] * 1e6, result["qps"]


def policy(folder, name, port, cache, guarded=True):
    path = pathlib.Path(folder, name)
    path.mkdir()
    path.joinpath("gateway.toml").write_text(f'''schema = 1
listen = ["127.0.0.1:{port}"]
workers = 1
[[upstream]]
name = "reflect"
address = "127.0.0.1:{PORT}"
[cache]
size = "{cache}"
[control]
socket = "{path}/control.sock"
[log]
queries = "none"
''' + ("" if guarded else "[top]\nsamples = 0\n"))
    # The load comes from four addresses: limits are looked at for each query, and never reached.
    path.joinpath("limits.toml").write_text('[source]\nrate = 1000000\nburst = 1000000\n[overload]\nrate = 1000000\n' + (LIMITS if guarded else UNGUARDED))
    return str(path)


def gateway(weir, directory):
    return start(0, weir, "run", directory, "--state", f"{directory}/state")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("floors")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--guards", action="store_true")
    given = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parent.parent
    weir = os.environ.get("WEIR", f"{root}/target/release/weir")
    if not os.path.exists(weir):
        sys.exit(f"{weir} is not there: run cargo build --release")
    with tempfile.TemporaryDirectory() as folder:
        for tool in ("reflect", "nullproxy", "blast"):
            subprocess.run(["gcc", "-O2", "-w", "-o", f"{folder}/{tool}", f"{given.floors}/{tool}.c", "-lpthread"], check=True)
        names = pathlib.Path(folder, "names")
        names.write_text("".join(f"host{n}.example.com A\n" for n in range(1000)))
        warm, cold = ("-d", str(names)), ("-D", "%x.example.com")
        rows = {"cached": [], "forward": []}
        rates = {"cached": [], "forward": []}
        running = []
        try:
            running.append(start(1, f"{folder}/reflect", "127.0.0.1", str(PORT)))
            if given.guards:
                floor_local = gateway(weir, policy(folder, "cached-off", PORT + 1, "64MiB", guarded=False))
                floor_relay = gateway(weir, policy(folder, "relay-off", PORT + 2, "0", guarded=False))
            else:
                floor_local = start(0, f"{folder}/reflect", "127.0.0.1", str(PORT + 1))
                floor_relay = start(0, f"{folder}/nullproxy", str(PORT + 2), str(PORT))
            cached = gateway(weir, policy(folder, "cached", PORT + 3, "64MiB"))
            relay = gateway(weir, policy(folder, "relay", PORT + 4, "0"))
            running += [floor_local, floor_relay, cached, relay]
            time.sleep(1)
            for number in range(given.rounds):
                for row, floor, ours, floor_port, our_port, how in (
                    ("cached", floor_local, cached, PORT + 1, PORT + 3, warm),
                    ("forward", floor_relay, relay, PORT + 2, PORT + 4, cold),
                ):
                    a, a_qps = measure(folder, floor, floor_port, given.seconds, *how)
                    b, b_qps = measure(folder, ours, our_port, given.seconds, *how)
                    rows[row].append((a, b))
                    rates[row].append((a_qps, b_qps))
                    print(f"round {number + 1} {row}: floor {a:.2f} us, weir {b:.2f} us, ratio {b / a:.2f}", flush=True)
        finally:
            for process in running:
                stop(process)
    print(f"\n{'row':8} {'floor us':>9} {'weir us':>9} {'ratio':>6} {'spread':>13} {'floor qps':>10} {'weir qps':>10}")
    for row, pairs in rows.items():
        ratios = sorted(b / a for a, b in pairs)
        floor, ours = (statistics.median(column) for column in zip(*pairs))
        floor_qps, our_qps = (statistics.median(column) for column in zip(*rates[row]))
        print(f"{row:8} {floor:9.2f} {ours:9.2f} {statistics.median(ratios):6.2f} {ratios[0]:6.2f}-{ratios[-1]:.2f} "
              f"{floor_qps:10.0f} {our_qps:10.0f}")


if __name__ == "__main__":
    main()
