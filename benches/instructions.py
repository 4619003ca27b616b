#!/usr/bin/env python3
"""Instructions per operation, counted under callgrind, against the baselines of benches/instructions.json.

usage: benches/instructions.py [check | renew | show] [part of an operation's name]

check: fails when an operation takes over 3 % more instructions than its baseline, and names it with both figures; says
       so too when one takes over 3 % less, so that the baseline can follow.
renew: writes the baselines anew, with the compiler and the tools that they hold for. Commit the file with the change
       that made them differ, and say in the commit why.
show:  prints the counts, and compares nothing.

Instructions do not depend on what else the machine does: the operations (benches/operations.rs) have fixed seeds, and run
without address randomisation and with an empty environment, so that counts repeat. They do depend on the compiler and
on the C library. With others than those of the baselines the check still runs, with a tolerance of 10 % and a line that
says so: a regression that counts is found, and a new compiler alone fails nobody. Valgrind missing is a failure.
"""
import argparse, json, os, pathlib, platform, re, shutil, subprocess, sys, tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BASELINES = ROOT / "benches/instructions.json"
TOLERANCE, TOLERANCE_OTHER_TOOLS = 0.03, 0.10
# The function of operations.rs whose calls are counted: a profile before each call, which is thrown away, and one after it.
MEASURED = "operations::measured"


def first_line(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def tools():
    """What else than the source decides how many instructions there are."""
    flags = pathlib.Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    return {
        "compiler": first_line("rustc", "--version"),
        "profiler": first_line("valgrind", "--version"),
        "C library": " ".join(platform.libc_ver()),
        # The C library and some crates choose by it how memory is copied and searched.
        "machine": platform.machine() + (" with avx2" if re.search(r"\bavx2\b", flags) else ""),
    }


def build():
    command = ["cargo", "bench", "--locked", "--bench", "operations", "--no-run", "--message-format=json-render-diagnostics"]
    lines = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    built = [json.loads(line) for line in lines if line.startswith("{")]
    return next(one["executable"] for one in built if one.get("executable") and one["target"]["name"] == "operations")


def count(program, part):
    """Instructions a round, by operation, in the order in which they ran."""
    with tempfile.TemporaryDirectory(prefix="weir-instructions-") as folder:
        command = ["setarch", "-R", shutil.which("valgrind"), "--tool=callgrind", f"--dump-before={MEASURED}",
                   f"--dump-after={MEASURED}", f"--callgrind-out-file={folder}/profile", program, part]
        ran = subprocess.run(command, capture_output=True, text=True, env={})
        if ran.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{ran.stdout}{ran.stderr}")
        texts = [path.read_text() for path in pathlib.Path(folder).glob("profile.*")]
    parts = {int(re.search(r"^part: (\d+)", text, re.M)[1]): text for text in texts}
    totals = [int(re.search(r"^(?:totals|summary): (\d+)", text, re.M)[1])
              for _, text in sorted(parts.items()) if re.search(r"^desc: Trigger: --dump-after", text, re.M)]
    operations = [line.split("\t") for line in ran.stdout.splitlines() if line.count("\t") == 2]
    if not operations or len(totals) != len(operations):
        sys.exit(f"{len(operations)} operations ran and {len(totals)} were counted: {MEASURED} is not what it was")
    return {name: round(total / int(rounds), 1) for (name, rounds, _), total in zip(operations, totals)}


def compare(counts, kept, part):
    tolerance = TOLERANCE
    now = tools()
    if kept["tools"] != now:
        tolerance = TOLERANCE_OTHER_TOOLS
        for what, was in kept["tools"].items():
            if now[what] != was:
                print(f"WARNING: the {what} of the baselines is {was}, and here {now.get(what)}")
        print(f"WARNING: so only what differs by over {tolerance:.0%} is told; `benches/instructions.py renew` makes it "
              f"{TOLERANCE:.0%} again")
    worse, better = [], []
    baselines = kept["instructions"]
    for name in [name for name in baselines if part in name and name not in counts]:
        worse.append(f"{name}: has a baseline and is no operation any more; renew")
    for name, instructions in counts.items():
        if name not in baselines:
            worse.append(f"{name}: {instructions:.1f} instructions, and has no baseline; renew")
            continue
        was = baselines[name]
        change = instructions / was - 1
        print(f"{name:45} {was:10.1f} {instructions:10.1f} {change:+8.2%}")
        told = f"{name}: {instructions:.1f} instructions, its baseline is {was:.1f} ({change:+.2%})"
        if change > tolerance:
            worse.append(told)
        elif change < -tolerance:
            better.append(told)
    for told in better:
        print(f"BETTER: {told}; keep it: `benches/instructions.py renew`")
    for told in worse:
        print(f"WORSE: {told}", file=sys.stderr)
    return not worse


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["check", "renew", "show"], default="check")
    parser.add_argument("part", nargs="?", default="")
    given = parser.parse_args()
    for tool in ("valgrind", "setarch", "cargo"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is not installed, and instructions cannot be counted without it")
    counts = count(build(), given.part)
    if given.what == "show":
        for name, instructions in counts.items():
            print(f"{name:45} {instructions:10.1f}")
    elif given.what == "renew":
        kept = json.loads(BASELINES.read_text())["instructions"] if given.part and BASELINES.exists() else {}
        BASELINES.write_text(json.dumps({"tools": tools(), "instructions": {**kept, **counts}}, indent=2) + "\n")
        print(f"{len(counts)} baselines written to {BASELINES.relative_to(ROOT)}")
    else:
        if not BASELINES.exists():
            sys.exit(f"{BASELINES.relative_to(ROOT)} is not there: `benches/instructions.py renew`")
        sys.exit(0 if compare(counts, json.loads(BASELINES.read_text()), given.part) else 1)


if __name__ == "__main__":
    main()
