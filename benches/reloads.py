#!/usr/bin/env python3
"""A reload each second under load, with a million names: what queries feel of it, and whether memory comes back.

usage: benches/reloads.py [--seconds 60] [--block 10] [--names 1000000] [--rate 5000] [--every 1.0] [--beside]

A gateway with two workers and a list of --names names is asked --rate queries a second by dnsperf on loopback: cached,
listed, and below listed names. Blocks of --block seconds with a reload every --every seconds, for --seconds in all, lie
between blocks of the same length without (first and last half of it, at most a minute). In those, `weir status` is
called as often: so that what is compared is the reload and not that a command is started. Each reload changes the list
by one name, added and taken out by turns; with --beside, a list of its own beside the large one. Printed: queries lost,
latency in the middle, at 99 and 99.9 of a hundred, with and without reloads; the time a reload takes; memory before, at
most, and after. The exit status is 1 when a query was lost, p99 with reloads is over 1.2 times that without, or memory
afterwards is over 1.05 times that before. 600 reloads in 600 s: benches/reloads.py --seconds 600 --block 100
"""
import argparse, pathlib, random, re, statistics, subprocess, sys, tempfile, time

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
            '[zone]\ntitle = "list"\n' + rule.format("names")
            + '[[rule]]\nid = "own"\nnames = ["one.more.invalid"]\naction = "nxdomain"\n'
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

    def ask_status(self):
        subprocess.run([WEIR, "status", "--socket", f"{self.folder}/sock"], capture_output=True, check=True)

    def command_through(self, blocks, every):
        """Reloads in each block that says so, asks for the status in the others."""
        due = time.monotonic()
        for reloading, seconds in blocks:
            end = due + seconds
            while due < end - every / 2:
                time.sleep(max(0, due - time.monotonic()))
                self.reload() if reloading else self.ask_status()
                due += every


def load(folder, file, seconds, rate, beside=lambda: None):
    """dnsperf for so long, and `beside` meanwhile: latencies in us in the order of the answers, how many were asked and lost."""
    command = [program("dnsperf"), "-s", "127.0.0.1", "-p", str(PORT), "-d", str(file), "-l", str(seconds), "-Q", str(rate),
               "-c", "10", "-q", "1000", "-t", "5", "-v"]
    # To a file, read when it is over: whoever reads along takes a core from those that are measured.
    with open(folder / "answers", "w+") as answers:
        process = subprocess.Popen(command, stdout=answers, stderr=subprocess.DEVNULL)
        beside()
        process.wait()
        answers.seek(0)
        latencies, summary = [], []
        for line in answers:
            if line.startswith("> "):
                if not line.startswith(("> NOERROR", "> NXDOMAIN")):
                    sys.exit(f"a wrong answer: {line}")
                latencies.append(round(float(line.rsplit(" ", 1)[1]) * 1e6))
            else:
                summary.append(line)
    number = lambda label: int(re.search(rf"{label}:\s+(\d+)", "".join(summary))[1])
    return latencies, number("Queries sent"), number("Queries lost")


def quantile(latencies, share):
    latencies = sorted(latencies)
    return latencies[min(len(latencies) - 1, int(len(latencies) * share))]


def blocks_of(seconds, block):
    """Blocks with reloads, each between two without."""
    outermost = (False, min(block / 2, 60))
    return [outermost] + [(True, block), (False, block)] * (max(1, round(seconds / block)) - 1) + [(True, block), outermost]


def windows_of(latencies, blocks, rate):
    """The answers of each block, in windows; what is left over at the end of a block says little about one in a hundred."""
    at, windows = 0.0, {True: [], False: []}
    for reloading, seconds in blocks:
        for first in range(int(seconds / WINDOW)):
            begin = int((at + first * WINDOW) * rate)
            windows[reloading].append(latencies[begin:begin + int(WINDOW * rate)])
        at += seconds
    return windows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--block", type=float, default=10)
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
            load(folder, questions, 3, given.rate)
            gateway.reload()
            time.sleep(2)
            before = gateway.memory("VmRSS")
            gateway.forget_the_most()
            blocks = blocks_of(given.seconds, given.block)
            first = gateway.reloads
            latencies, sent, lost = load(folder, questions, sum(seconds for _, seconds in blocks), given.rate,
                                         lambda: gateway.command_through(blocks, given.every))
            reloads = gateway.reloads - first
            most = gateway.memory("VmHWM")
            time.sleep(2)
            after = gateway.memory("VmRSS")
        finally:
            stop(gateway.process)
    p99s = {}
    for reloading, windows in windows_of(latencies, blocks, given.rate).items():
        p99s[reloading] = [quantile(window, 0.99) for window in windows]
        all_of = sorted(latency for window in windows for latency in window)
        print(f"{reloads if reloading else 'no'} reloads: {len(all_of)} answers; latency {quantile(all_of, 0.5)} us, p99 "
              f"{quantile(all_of, 0.99)} us, p99.9 {quantile(all_of, 0.999)} us, most {all_of[-1]} us; p99 of {WINDOW} s "
              f"{min(p99s[reloading])}-{max(p99s[reloading])} us, in the middle {statistics.median(p99s[reloading]):.0f}")
    ratio = statistics.median(p99s[True]) / statistics.median(p99s[False])
    took = sorted(gateway.took)
    print(f"p99 with reloads {ratio:.2f} times that without; {sent} queries, {lost} lost; a reload "
          f"{statistics.median(took):.0f} ms ({took[0]}-{took[-1]})\nmemory {before:.1f} MiB before, {most:.1f} at most "
          f"({most / before:.2f} times), {after:.1f} after")
    sys.exit(lost > 0 or ratio > RATIO_MAX or after > before * MEMORY_MAX)


if __name__ == "__main__":
    main()
