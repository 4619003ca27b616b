#!/usr/bin/env python3
"""A reload each second under load, with a million names: what queries feel of it, and whether memory comes back.

usage: benches/reloads.py [--seconds 60] [--names 1000000] [--rate 5000] [--every 1.0] [--beside]

A gateway with two workers and a list of --names names is asked --rate queries a second by dnsperf on loopback: cached,
listed, and below listed names. First without reloads for a quarter of --seconds, then with one every --every seconds for
--seconds, then without again. Each reload changes the list by one name, added and taken out by turns; with --beside, a
list of its own beside the large one. Printed: queries lost, latency in the middle, at 99 and 99.9 of a hundred, with and
without reloads; the time a reload takes; memory before, at most, and after. The exit status is 1 when a query
was lost, p99 with reloads is over 1.2 times that without, or memory afterwards is over 1.05 times that before.
600 reloads in 600 s: benches/reloads.py --seconds 600
"""
import argparse, pathlib, random, re, statistics, subprocess, sys, tempfile, threading, time

sys.dont_write_bytecode = True
from blocklist import WEIR, made, program, stop, wait

PORT = 20580
RATIO_MAX = 1.2
MEMORY_MAX = 1.05
WINDOW = 5  # s: p99 of each, the middle of which is compared, so that what else the machine does weighs less


class Gateway:
    """The gateway under test, before the lab."""

    def __init__(self, folder, names, beside):
        self.folder, self.policy, self.reloads, self.took = folder, folder / "policy", 0, []
        for part in ("filters", "lists"):
            self.policy.joinpath(part).mkdir(parents=True)
        self.policy.joinpath("gateway.toml").write_text(
            f'schema = 1\nlisten = ["127.0.0.1:{PORT}"]\nworkers = 2\nwatch = false\n[[upstream]]\nname = "lab"\n'
            f'address = "192.0.2.1"\n[control]\nsocket = "{folder}/sock"\n[log]\nqueries = "none"\n')
        limits = "".join(f'[{part}]\nmode = "off"\n' for part in ("source", "rrl", "overload"))
        self.policy.joinpath("limits.toml").write_text(limits)
        rule = '[[rule]]\nid = "{0}"\nlist = "lists/{0}.txt"\naction = "nxdomain"\n'
        self.policy.joinpath("filters/10-list.toml").write_text(
            '[zone]\ntitle = "list"\n' + rule.format("names") + '[[rule]]\nid = "own"\nnames = ["one.more.invalid"]\naction = "nxdomain"\n'
            + (rule.format("beside") if beside else ""))
        self.policy.joinpath("lists/names.txt").write_text("".join(f"{name}\n" for name in names))
        self.changed = self.policy / ("lists/beside.txt" if beside else "lists/names.txt")
        if beside:
            self.changed.write_text("first.beside.invalid\n")
        command = [WEIR, "run", str(self.policy), "--lab", "--state", str(folder / "state")]
        log = open(folder / "out", "w")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait(self.process, names[-1], 3, PORT, folder)
        self.text = self.changed.read_bytes()

    def memory(self, key):
        return int(re.search(rf"{key}:\s+(\d+)", pathlib.Path(f"/proc/{self.process.pid}/status").read_text())[1]) / 1024

    def forget_the_most(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def reload(self):
        """Changes the list by one name and loads it."""
        # Behind the last line: what is there already is not written again.
        with open(self.changed, "r+b") as file:
            file.truncate(len(self.text))
            if self.reloads % 2 == 0:
                file.seek(len(self.text))
                file.write(f"added{self.reloads}.example.net\n".encode())
        done = subprocess.run([WEIR, "reload", "--socket", f"{self.folder}/sock"], capture_output=True, text=True)
        loaded = re.search(r"loaded in (\d+) ms", done.stdout)
        if done.returncode != 0 or not loaded:
            sys.exit(f"a reload failed: {done.stdout}{done.stderr}")
        self.reloads += 1
        self.took.append(int(loaded[1]))

    def reload_until(self, over, every):
        due = time.monotonic()
        while not over.is_set():
            self.reload()
            due = max(due + every, time.monotonic())
            over.wait(max(0, due - time.monotonic()))


def load(file, seconds, rate):
    """dnsperf for so long: latencies in us of each window, how many were asked and lost."""
    command = [program("dnsperf"), "-s", "127.0.0.1", "-p", str(PORT), "-d", str(file), "-l", str(seconds), "-Q", str(rate),
               "-c", "10", "-q", "1000", "-t", "5", "-v"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    windows, summary, end = [[]], [], time.monotonic() + WINDOW
    for line in process.stdout:
        if line.startswith("> "):
            if not line.startswith(("> NOERROR", "> NXDOMAIN")):
                sys.exit(f"a wrong answer: {line}")
            windows[-1].append(round(float(line.rsplit(" ", 1)[1]) * 1e6))
            if len(windows[-1]) % 256 == 0 and time.monotonic() > end:
                windows.append([])
                end += WINDOW
        else:
            summary.append(line)
    process.wait()
    number = lambda label: int(re.search(rf"{label}:\s+(\d+)", "".join(summary))[1])
    # The rest of a window says little about one in a hundred.
    whole = [window for window in windows if len(window) > rate * WINDOW / 2] or windows
    return whole, number("Queries sent"), number("Queries lost")


def quantile(latencies, share):
    latencies.sort()
    return latencies[min(len(latencies) - 1, int(len(latencies) * share))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--every", type=float, default=1.0)
    parser.add_argument("--beside", action="store_true")
    given = parser.parse_args()
    names = list(dict.fromkeys(made(given.names)))
    rng = random.Random(3)
    with tempfile.TemporaryDirectory(prefix="weir-reloads-") as path:
        folder = pathlib.Path(path)
        questions = folder / "questions"
        questions.write_text("".join(f"www.lab.example A\n{name} A\nwww.{name} A\nhost{n % 50}.lab.example A\n"
                                     for n, name in enumerate(rng.choices(names, k=100_000))))
        gateway = Gateway(folder, names, given.beside)
        del names
        try:
            load(questions, 3, given.rate)
            gateway.reload()
            time.sleep(2)
            before = gateway.memory("VmRSS")
            gateway.forget_the_most()
            phases = []
            for reloading, seconds in ((False, max(given.seconds / 4, 5)), (True, given.seconds), (False, max(given.seconds / 4, 5))):
                over = threading.Event()
                reloader = threading.Thread(target=gateway.reload_until, args=(over, given.every))
                first = gateway.reloads
                if reloading:
                    reloader.start()
                windows, sent, lost = load(questions, seconds, given.rate)
                over.set()
                if reloading:
                    reloader.join()
                p99s = [quantile(window, 0.99) for window in windows]
                latencies = [latency for window in windows for latency in window]
                phases.append((reloading, lost, p99s))
                print(f"{gateway.reloads - first} reloads: {sent} queries, {lost} lost; latency {quantile(latencies, 0.5)} us, "
                      f"p99 {quantile(latencies, 0.99)} us, p99.9 {quantile(latencies, 0.999)} us, most {latencies[-1]} us; "
                      f"p99 of {WINDOW} s {min(p99s)}-{max(p99s)} us, in the middle {statistics.median(p99s):.0f}", flush=True)
            most = gateway.memory("VmHWM")
            time.sleep(2)
            after = gateway.memory("VmRSS")
        finally:
            stop(gateway.process)
    with_reloads, without = (statistics.median(p99 for reloads, _, p99s in phases for p99 in p99s if reloads == reloading)
                             for reloading in (True, False))
    ratio = with_reloads / without
    lost = sum(lost for _, lost, _ in phases)
    took = sorted(gateway.took)
    print(f"p99 with reloads {ratio:.2f} times that without; {lost} queries lost; a reload {statistics.median(took):.0f} ms "
          f"({took[0]}-{took[-1]})\nmemory {before:.1f} MiB before, {most:.1f} at most ({most / before:.2f} times), {after:.1f} after")
    sys.exit(lost > 0 or ratio > RATIO_MAX or after > before * MEMORY_MAX)


if __name__ == "__main__":
    main()
