"""Rows of figures: how they are summed up, compared with budgets and a baseline, and printed."""
import json
import statistics

REGRESSION = 0.15  # a figure of comparison that grew by more is marked


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(round(share * (len(ordered) - 1))))]


def summed_up(unit, budget, values, yard=None, yard_name=None):
    """One row. `compare` is what a baseline holds: the ratio to the yardstick measured in turn (of the lower
    quartiles: a neighbour on the machine only ever adds), or the figure itself where there is none."""
    values = values if isinstance(values, list) else [values]
    median = statistics.median(values)
    row = {"unit": unit, "n": len(values), "median": median, "p95": percentile(values, 0.95), "budget": budget,
           "of_budget": None if budget is None else median / budget if budget else None,
           "within": budget is None or median <= budget, "compare": median}
    if yard:
        row.update(yardstick=yard_name, yard=percentile(yard, 0.25),
                   compare=percentile(values, 0.25) / percentile(yard, 0.25))
    return row


def against(rows, baseline):
    """Adds to each row what the baseline says: change as a share, whether it is noisy, whether it regressed."""
    for name, row in rows.items():
        base = baseline.get(name)
        if not base:
            continue
        was = base["compare"]
        row["baseline"] = was
        row["change"] = row["compare"] / was - 1 if was else (0.0 if row["compare"] <= 0 else float("inf"))
        row["noisy"] = base["spread"] > REGRESSION
        row["regressed"] = row["change"] > REGRESSION and not row["noisy"]


def to_baseline(rounds):
    """{name: {"compare", "spread"}} from several runs; the spread is (most - least) / median."""
    out = {}
    for name in rounds[0]:
        values = [r[name]["compare"] for r in rounds if name in r]
        middle = statistics.median(values)
        out[name] = {"compare": round(middle, 4),
                     "spread": round((max(values) - min(values)) / middle, 3) if middle else 0.0}
    return out


def number(v):
    if v is None:
        return "-"
    return f"{v:.0f}" if abs(v) >= 100 or v == int(v) else f"{v:.2f}"


def mark(row):
    if row.get("regressed"):
        return "REGRESSED"
    if not row["within"]:
        return "OVER BUDGET"
    return "noisy" if row.get("noisy") else ""


def print_table(rows):
    print(f"{'what':52} {'median':>8} {'p95':>8} {'unit':>5} {'n':>5} {'budget':>7} {'share':>6} "
          f"{'x yard':>7} {'base':>7} {'change':>7}")
    for name, r in rows.items():
        share = "-" if r["of_budget"] is None else f"{r['of_budget']:.2f}"
        ratio = f"{r['compare']:.2f}" if "yard" in r else "-"
        change = "-" if r.get("change") is None else f"{100 * r['change']:+.0f} %"
        print(f"{name:52} {number(r['median']):>8} {number(r['p95']):>8} {r['unit']:>5} {r['n']:>5} "
              f"{number(r['budget']):>7} {share:>6} {ratio:>7} {number(r.get('baseline')):>7} {change:>7} {mark(r)}".rstrip())
    names = sorted({(r["yardstick"], n) for n, r in rows.items() if "yardstick" in r})
    for yard in sorted({y for y, _ in names}):
        took = [rows[n]["yard"] for y, n in names if y == yard]
        print(f"  x yard: in terms of \"{yard}\" ({min(took):.2f} ms): " + "; ".join(n for y, n in names if y == yard))


def write_json(path, rows, **more):
    clean = {n: {k: (None if v == float("inf") else v) for k, v in r.items()} for n, r in rows.items()}
    path.write_text(json.dumps(dict(results=clean, **more), indent=2) + "\n")
