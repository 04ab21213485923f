"""100,000 documents on one agent: nothing grows, each runs once and is reported once, retention works."""
import os
import time

import flsandbox
import meter
import refplane

NAME = "documents"
ABOUT = "100,000 documents on one agent"
DOCUMENTS = 100_000
WORKERS = 5           # the default of Mds.CommandWorkersLimit; as many more are let wait
SAMPLES = 50
KEEP_FILES, KEEP_BYTES = 4000, 32 << 20
SWEEP_JOBS = 200      # swept every 100 closed jobs, by a process of its own: that many may be there on top
FILES_A_JOB = 10


def run(run):
    n = run.count(DOCUMENTS, least=60)
    plane = refplane.RefPlane(run.place)
    agent = flsandbox.Agent(run.place / "agent", run.build, plane.endpoint, plane.ca_file)
    agent.configure(Fairlead={"Jobs": {"MaxFiles": KEEP_FILES, "MaxBytes": KEEP_BYTES}})
    agent.register(plane.activation)
    try:
        agent.start()
        plane.wait_online()
        send_all(run, plane, agent, n)
    finally:
        agent.end_everything()
        plane.close()


def send_all(run, plane, agent, n):
    marks = run.place / "marks"
    meters = meter.Meter(agent)
    most = {"kB": 0, "files": 0}
    flying, sent, done, started = {}, 0, 0, time.monotonic()

    def refused(job):
        return any(a["statusCode"] != "200" for a in job.acks)

    def is_over(job):
        return job.final_acked_at and job.acks

    while done < n:
        while len(flying) < 2 * WORKERS and sent < n:
            job = plane.send_job(parameters={"commands": [f"echo {sent} >>{marks}"]})
            flying[job.job_id] = job
            sent += 1
        with plane.changed:
            if not plane.changed.wait_for(lambda: any(is_over(j) for j in flying.values()), 60):
                raise RuntimeError(f"no document ended for 60 s, {done} did; {plane.violations[:3]}")
            over = [j for j in flying.values() if is_over(j)]
        for job in over:
            # A reply that came twice is a reply for an unknown job from here on: a violation.
            del flying[job.job_id], plane.jobs[job.job_id]
            if refused(job) or job.duplicates or job.final()["documentStatus"] != "Success":
                run.check("a document", False, (job.acks, job.duplicates, job.final()))
            done += 1
            if done % max(1, n // SAMPLES) == 0:
                meters.take()
            if done % max(1, n // 10) == 0:
                now = meter.folder(agent.state)
                most = {k: max(most[k], now[k]) for k in most}
                run.say(f"        {done} documents, {time.monotonic() - started:.0f} s, {now}")
        plane.requests.clear()
    seconds = time.monotonic() - started
    time.sleep(1)  # a reply sent twice would come about now, and the sweeper ends

    lines = marks.read_text().split()
    run.figure("documents", n)
    run.figure("documents a second", round(n / seconds, 1))
    run.figure("most on disk", most["kB"], "kB")
    run.figure("most files", most["files"])
    run.figure("list of seen commands", os.stat(agent.state / "seen").st_size // 1024, "kB")
    run.figure("log bytes a document", agent.log.stat().st_size // n)
    run.check("every document ran once", len(lines) == n and len(set(lines)) == n, f"{len(lines)} of {n}")
    run.check("every document was reported once", not plane.violations, plane.violations[:3])
    run.check("retention in files", most["files"] <= KEEP_FILES + SWEEP_JOBS * FILES_A_JOB, most["files"])
    run.check("retention in bytes", most["kB"] <= (KEEP_BYTES >> 10) * 1.5, f"{most['kB']} kB")
    run.check("no job is left open", not list((agent.state / "jobs").iterdir()))
    meters.judge(run, ["fairlead-agent", "fairlead-agent-net"])
