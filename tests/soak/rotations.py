"""1,000 token rotations with a fast clock and short tokens, every tenth with a rotation of the node's key."""
import fastclock
import flsandbox
import meter
import refplane

NAME = "rotations"
ABOUT = "1,000 token rotations, 100 of them with a key rotation"
ROTATIONS = 1000
RATE = 10             # a new key takes up to a second or two of a busy machine, and has a minute
TOKEN_LIFE_S = 4    # simulated; fetched anew at half of it
KEY_EVERY = 10
SAMPLES = 50


def run(run):
    n = run.count(ROTATIONS, least=12)
    plane = refplane.RefPlane(run.place)
    clock = fastclock.FastClock(run.place)
    agent = flsandbox.Agent(run.place / "agent", run.build, plane.endpoint, plane.ca_file)
    agent.register(plane.activation)
    agent.extra_env = clock.env()
    node_id = agent.node_id
    first_key = plane.nodes[node_id][0]
    plane.token_life_s = TOKEN_LIFE_S
    try:
        agent.start()
        clock.start()
        plane.clock = clock.now
        plane.wait_online()
        clock.run(RATE)
        rotate(run, plane, agent, n)
        run.check("the key was changed", plane.nodes[node_id][0] != first_key)
        plane.wait_online()  # a new key has the agent connect again
        job = plane.shell("echo rotated")
        run.check("the agent works with the last token", job.final()["documentStatus"] == "Success",
              job.final()["documentStatus"])
        run.check("the protocol was kept", not plane.violations, plane.violations[:3])
    finally:
        agent.end_everything()
        plane.close()
        clock.close()


def rotate(run, plane, agent, n):
    meters, keys, key = meter.Meter(agent), 0, plane.nodes[agent.node_id][0]
    begun = plane.token_count
    for i in range(n):
        if i % KEY_EVERY == 0:
            plane.update_key_pair = True
        have = plane.token_count
        plane.wait(lambda: plane.token_count > have, 180, f"token {i + 1} of {n}")
        if plane.nodes[agent.node_id][0] is not key:
            keys, key = keys + 1, plane.nodes[agent.node_id][0]
        if i % max(1, n // SAMPLES) == 0:
            meters.take()
        plane.requests.clear()
        plane.tokens = dict(list(plane.tokens.items())[-4:])
    run.figure("token rotations", plane.token_count - begun)
    run.figure("key rotations", keys)
    run.check("keys were rotated", keys >= n // KEY_EVERY - 1, keys)
    meters.judge(run, ["fairlead-agent", "fairlead-agent-net"])
