import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="A first look at the data")


@app.cell(hide_code=True)
def _():
    import marimo as mo

    return (mo,)


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    # A first look at the data

    What was loaded, who is good, is the model honest, why was an event predicted as it was, what was known when,
    and how clean is it. All of it reads the views through [`headrace.frames`](../docs/frames.md), as a role that
    cannot change anything.

    `connect()` finds the database that `headrace` would use here: `.headrace` while `make run` runs, or the one
    of `HEADRACE_DATABASE__URL`. `connect("postgresql://...")` names another one.
    """)
    return


@app.cell
def _():
    import pandas as pd
    from matplotlib.figure import Figure

    from headrace.frames import connect
    from headrace.plots import calibration, losses, rates

    hr = connect()
    return Figure, calibration, hr, losses, pd, rates


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## What was loaded

    The last 60 days with a session, and the state of their events. An event is *listed* when its card is known,
    *observed* before its start, and *settled* when its result is known.
    """)
    return


@app.cell
def _(hr, pd):
    last_day = hr.sessions(columns=["date"])["date"].max()
    days = {"from_day": last_day - pd.Timedelta(days=59), "to_day": last_day}
    sessions, events = hr.sessions(**days), hr.events(**days)
    dated = events.merge(sessions[["session_key", "date", "venue"]], on="session_key")
    by_day = pd.crosstab(dated["date"].dt.date, dated["status"])
    summary = [
        {
            "first day": sessions["date"].min().date(),
            "last day": last_day.date(),
            "venues": sessions["venue"].nunique(),
            "sessions": len(sessions),
            "events": len(events),
            "settled events": int((events["status"] == "settled").sum()),
        }
    ]
    pd.DataFrame(summary)
    return by_day, dated, days, events, last_day, sessions


@app.cell
def _(Figure, by_day):
    colours = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000"]
    loaded_figure = Figure(figsize=(9, 3), layout="constrained")
    loaded_axes = loaded_figure.subplots()
    by_day.plot.bar(stacked=True, width=0.9, color=colours, ax=loaded_axes, rot=0)
    loaded_axes.set(xlabel="", ylabel="events", title="Events by day and state")
    shown = range(0, len(by_day), -(-len(by_day) // 7))
    loaded_axes.set_xticks(shown, [str(by_day.index[position]) for position in shown], fontsize=8)
    loaded_axes.spines[["top", "right"]].set_visible(False)
    loaded_axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    loaded_figure
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## Who is good

    The slot decides more than the entity: slot 1 starts on the inside. So an entity is measured by its wins
    beyond those that an average entity would have had in the same slots.
    """)
    return


@app.cell
def _(days, hr, rates):
    results = hr.results(**days)
    rates.rates_figure(rates.rates_by_venue(results))
    return (results,)


@app.cell
def _(hr, results):
    started = results[results["place"].notna() & results["entity_key"].notna()].assign(
        won=lambda frame: (frame["place"] == 1).astype("float64")
    )
    started["expected"] = started.groupby("slot")["won"].transform("mean")
    entities = (
        started.groupby("entity_key")
        .agg(starts=("won", "size"), wins=("won", "sum"), expected=("expected", "sum"))
        .assign(beyond=lambda frame: frame["wins"] - frame["expected"])
        .merge(hr.entities(columns=["entity_key", "name"]), on="entity_key")
        .sort_values(["beyond", "entity_key"], ascending=[False, True])
    )
    entities[["entity_key", "name", "starts", "wins", "expected", "beyond"]].head(10).round(1).reset_index(drop=True)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## Is the model honest

    If it says 30 %, three of ten should win. The points show how often they did, with intervals of 95 %; whole
    days of a venue are drawn for them, because the events of a day are not independent. The table has the
    difference of the log-loss to the base rate, which is each slot's share of wins before the first prediction:
    below 0, the model is better.
    """)
    return


@app.cell
def _(calibration, days, hr, results):
    predictions = hr.predictions(**days, head="result", shadow=False)
    has_scores = predictions["event_key"].isin(results["event_key"]).any()
    (
        calibration.calibration_figure(calibration.calibration_by_state(predictions, results))
        if has_scores
        else "No prediction of these days has a result yet."
    )
    return has_scores, predictions


@app.cell
def _(has_scores, predictions, results):
    predictions.headrace.against("base", results=results).round(4) if has_scores else None
    return


@app.cell
def _(has_scores, losses, predictions, results):
    losses.losses_figure(losses.losses_by_month(predictions, results)) if has_scores else None
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## One event explained

    The predicted event whose winner was the greatest surprise: what was on its card, what was predicted from the
    card and from the observation, and what happened.
    """)
    return


@app.cell
def _(events, predictions, results):
    winners = results.loc[results["place"] == 1, ["event_key", "slot"]].drop_duplicates("event_key")
    surprises = predictions.merge(winners, on=["event_key", "slot"]).sort_values(["probability", "event_key"])
    settled = events.loc[events["status"] == "settled", "event_key"]
    chosen = surprises["event_key"].iloc[0] if len(surprises) else settled.iloc[-1]
    json_columns = ["conditions", "observed_conditions", "missing_markets"]
    events[events["event_key"] == chosen].drop(columns=json_columns).set_index("event_key").T.rename_axis("column")
    return (chosen,)


@app.cell
def _(chosen, hr, predictions, results):
    outcome = results.loc[results["event_key"] == chosen, ["slot", "place", "course", "start_timing_s", "win_amount"]]
    chances = predictions[predictions["event_key"] == chosen].sort_values("as_of", kind="stable")
    by_state = chances.pivot_table(
        index="slot", columns="state", values="probability", aggfunc="last", observed=True
    ).add_prefix("P(win), ")
    names = hr.entities(event=chosen, columns=["entity_key", "name"])
    card = hr.entries(event=chosen).merge(names, on="entity_key", how="left")
    card[["slot", "name"]].merge(by_state.round(3), on="slot", how="left").merge(outcome, on="slot")
    return by_state, outcome


@app.cell
def _(Figure, by_state, chosen, outcome):
    winning = ", ".join(map(str, outcome.loc[outcome["place"] == 1, "slot"]))
    chances_figure = Figure(figsize=(7, 3), layout="constrained")
    chances_axes = chances_figure.subplots()
    if len(by_state):
        by_state.plot.bar(ax=chances_axes, color=["#0072B2", "#E69F00"], rot=0)
        chances_axes.legend(frameon=False)
    chances_axes.set(xlabel="slot", ylabel="probability", title=f"{chosen}, won by slot {winning}")
    chances_axes.spines[["top", "right"]].set_visible(False)
    chances_figure
    return


@app.cell
def _(chosen, hr):
    measures = hr.entries(event=chosen).headrace.wide().drop(columns=["event_key", "entity_key"])
    measures.set_index("slot").T.add_prefix("slot ").rename_axis("measure")
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## What was known when

    A row is the fold of all versions of its facts. `hr.history` lists every value that a version stated first,
    changed or lacked; `hr.as_of` gives the views as they were at an instant, so that nothing later can leak into
    an analysis.
    """)
    return


@app.cell
def _(chosen, hr):
    history = hr.history(chosen)
    changes = history[history["change"] != "first"]
    changes[["known_at", "kind", "field", "previous", "value", "change"]].head(20).reset_index(drop=True)
    return


@app.cell
def _(chosen, events, hr, pd):
    known = events.loc[events["event_key"] == chosen, ["listed_at", "observed_at", "settled_at"]].iloc[0].dropna()
    compared = ["status", "version", "distance_m", "technique", "known_at"]
    then = {
        name.removesuffix("_at"): hr.as_of(instant).events(event=chosen, columns=compared).iloc[0]
        for name, instant in known.items()
    }
    pd.concat(then, axis=1).rename_axis("column")
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## How clean is it

    What sources changed or took back later, what waits for its event, and what no service could handle; then the
    report of `headrace quality`: what breaks a threshold, and all measures on one page (docs/quality.md).
    """)
    return


@app.cell
def _(days, events, hr, pd):
    corrections, regressions = hr.corrections(**days), hr.regressions(**days)
    counted = {
        "corrected values": len(corrections),
        "events with a correction": corrections["event_key"].nunique(),
        "values that a later fact lacks": len(regressions),
        "parked facts": len(hr.parked()),
        "dead letters": len(hr.dead_letters()),
        "settled events without all payouts": int(events["missing_markets"].map(bool).sum()),
    }
    pd.Series(counted, name="rows").rename_axis("what").reset_index()
    return (corrections,)


@app.cell
def _(days, hr):
    report = hr.quality(**days)
    report.findings
    return (report,)


@app.cell
def _(report):
    report
    return


if __name__ == "__main__":
    app.run()
