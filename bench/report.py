# SPDX-License-Identifier: PostgreSQL
"""report: medians, ratios and verdicts, written as Markdown. Pure: results in, text out."""

from statistics import median

# (protocol, clients, peer, the largest allowed ratio of CPU a transaction), for
# Switchgear with the split on and one worker.
CPU_TARGETS = (("simple", 64, "pgbouncer", 0.9), ("prepared", 64, "haproxy", 1.1),
               ("tls", 64, "pgbouncer", 1.0), ("tls-connect", 64, "pgbouncer", 1.0))
CALLS_TARGET = ("simple", "prepared"), 64, 4.5
SUBJECT = "switchgear-1"
PEERS = (("pgbouncer", "PgBouncer"), ("haproxy", "HAProxy"))


class Results:
    def __init__(self):
        self.runs = {}    # (contender, protocol, clients) -> {round: Run}
        self.calls = {}   # the same key -> system calls a transaction
        self.errors = []  # sentences

    def add(self, key, round_number, run):
        self.runs.setdefault(key, {})[round_number] = run

    def median_of(self, key, field):
        values = [getattr(run, field) for run in self.runs.get(key, {}).values()]
        values = [v for v in values if v is not None]
        return median(values) if values else None

    def spread_of(self, key, field):
        values = [getattr(run, field) for run in self.runs.get(key, {}).values()]
        values = [v for v in values if v is not None]
        return (min(values), max(values)) if values else None

    def cpu_ratio(self, subject, peer, protocol, clients):
        """Median of the ratios within one round: drift of the machine between rounds cancels."""
        ours = self.runs.get((subject, protocol, clients), {})
        theirs = self.runs.get((peer, protocol, clients), {})
        ratios = [run.cpu_us / theirs[number].cpu_us for number, run in ours.items()
                  if number in theirs]
        return median(ratios) if ratios else None


def show(value, form):
    return "-" if value is None else format(value, form)


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def contender_row(results, contender, key):
    spread = results.spread_of(key, "cpu_us")
    cpu = show(results.median_of(key, "cpu_us"), ".1f")
    if spread:
        cpu += f" ({spread[0]:.1f} to {spread[1]:.1f})"
    rss = results.median_of(key, "rss_kb")
    return [str(key[2]), contender.title, show(results.median_of(key, "tps"), ",.0f"),
            *(show(results.median_of(key, f), ".3f") for f in ("p50_ms", "p95_ms", "p99_ms")),
            cpu, show(results.calls.get(key), ".2f"), show(rss / 1024 if rss else None, ".1f")]


def protocol_section(results, contenders, protocol, clients_list):
    rows = []
    for clients in clients_list:
        for contender in contenders:
            key = (contender.key, protocol, clients)
            if key in results.runs or key in results.calls:
                rows.append(contender_row(results, contender, key))
    header = ["clients", "contender", "tps", "p50 ms", "p95 ms", "p99 ms",
              "CPU us/transaction", "system calls/transaction", "RSS MiB"]
    return ["", f"## {protocol}", "", *table(header, rows)] if rows else []


def ratio_section(results, contenders, protocols, clients_list):
    rows = []
    for contender in (c for c in contenders if c.key.startswith("switchgear")):
        for protocol in protocols:
            for clients in clients_list:
                ratios = [results.cpu_ratio(contender.key, peer, protocol, clients)
                          for peer, _ in PEERS]
                if any(ratios):
                    rows.append([contender.title, protocol, str(clients),
                                 *(show(r, ".2f") for r in ratios)])
    if not rows:
        return []
    header = ["contender", "protocol", "clients", *(f"CPU / {title}" for _, title in PEERS)]
    return ["", "## Ratios of CPU a transaction", "", *table(header, rows)]


def verdict(what, value, limit, form):
    if value is None:
        return f"- not measured: {what} <= {limit}"
    word = "holds" if value <= limit else "MISSED"
    return f"- {word}: {what} is {format(value, form)}, target <= {limit}"


def target_section(results):
    """Judges the targets of Switchgear with the split on, one worker, 64 clients."""
    lines = ["", "## Targets", "", "Switchgear, split on, one worker:", ""]
    for protocol, clients, peer, limit in CPU_TARGETS:
        what = f"CPU a transaction over {dict(PEERS)[peer]}'s, {protocol}, {clients} clients,"
        ratio = results.cpu_ratio(SUBJECT, peer, protocol, clients)
        lines.append(verdict(what, ratio, limit, ".2f"))
    protocols, clients, limit = CALLS_TARGET
    for protocol in protocols:
        what = f"system calls a transaction, {protocol}, {clients} clients,"
        lines.append(verdict(what, results.calls.get((SUBJECT, protocol, clients)), limit, ".2f"))
    return lines


def idle_section(idle):
    """`idle`: (title, clients, rss KiB a client, pss KiB a client)."""
    if not idle:
        return []
    rows = [[title, str(clients), show(rss, ".2f"), show(pss, ".2f")]
            for title, clients, rss, pss in idle]
    return ["", "## Idle clients", "",
            *table(["contender", "idle clients", "RSS KiB/client", "Pss KiB/client"], rows)]


def render(results, contenders, options, facts, idle):
    lines = ["# Benchmark", "", *(f"- {fact}" for fact in facts)]
    for protocol in options.protocols:
        lines += protocol_section(results, contenders, protocol, options.clients)
    if results.runs or results.calls:
        lines += ratio_section(results, contenders, options.protocols, options.clients)
        lines += target_section(results)
    lines += idle_section(idle)
    if results.errors:
        lines += ["", "## What went wrong", "", *(f"- {e}" for e in results.errors)]
    return "\n".join(lines) + "\n"
