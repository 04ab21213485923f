"""The plane under many callers at once: what each thread of it does meets what the others do.

A test like any other; under ThreadSanitizer (`make check-tsan`) it is what looks for races.
"""
import random
import signal
import threading
import time

import pytest

import flsandbox

N_CALLERS, N_NODES, ROUNDS = 6, 5, 5


def mixed_calls(ssm, nodes, seed, accepted, failed):
    """A little of everything that an operator's scripts do."""
    rnd = random.Random(seed)

    def send():
        got = ssm.send_command(DocumentName="AWS-RunShellScript", Parameters={"commands": ["true"]},
                               InstanceIds=rnd.sample(nodes, rnd.randint(1, len(nodes))), MaxConcurrency="2")
        accepted.append((got["Command"]["CommandId"], got["Command"]["TargetCount"]))

    def cancel():
        if accepted:
            ssm.cancel_command(CommandId=rnd.choice(accepted)[0])

    def document():
        ssm.describe_document(Name="AWS-RunShellScript")
        ssm.get_document(Name="AWS-RunShellScript")

    def tags():
        node = rnd.choice(nodes)
        ssm.add_tags_to_resource(ResourceType="ManagedInstance", ResourceId=node,
                                 Tags=[{"Key": f"k{seed}", "Value": "v"}])
        ssm.list_tags_for_resource(ResourceType="ManagedInstance", ResourceId=node)

    def activation():
        got = ssm.create_activation(IamRole="role", RegistrationLimit=2)
        ssm.describe_activations(MaxResults=5)
        ssm.delete_activation(ActivationId=got["ActivationId"])
    calls = [send, send, send, cancel, document, tags, activation,
             lambda: ssm.list_commands(MaxResults=20), lambda: ssm.list_command_invocations(Details=True, MaxResults=20),
             lambda: ssm.describe_instance_information(MaxResults=10)]
    for _ in range(ROUNDS):
        for call in rnd.sample(calls, len(calls)):
            try:
                call()
            except Exception as e:  # in a thread: told to the test
                failed.append(f"{seed}: {e!r}")


def side_calls(box, stop, failed):
    """Health checks, metrics and users that come and go, for as long as the rest goes on."""
    n = 0
    while not stop.is_set():
        for path in ("/healthz", "/readyz", "/metrics"):
            if box.plane.api.get(path)[0] != 200:
                failed.append(path)
        n += 1
        user = f"side{n}"
        for words in (["user", "add", user], ["key", "create", user], ["user", "delete", user]):
            done = box.plane.command("admin", *words, "--data", box.plane.data)
            if done.returncode:
                failed.append(f"{words}: {done.stderr}")


@pytest.mark.slow
def test_many_callers_and_nodes_at_once(new_box, new_node):
    """Commands to nodes that come and go, every answer is right, nothing is lost over a restart, SIGTERM ends it."""
    from conftest import client
    box = new_box(nodes=0)
    nodes = [new_node(plane=box.plane) for _ in range(N_NODES)]
    ids = [n.node_id for n in nodes]
    accepted, failed, stop = [], [], threading.Event()
    callers = [threading.Thread(target=mixed_calls, args=(client(box.plane, "ssm"), ids, seed, accepted, failed))
               for seed in range(N_CALLERS)]
    side = threading.Thread(target=side_calls, args=(box, stop, failed))
    for t in [*callers, side]:
        t.start()
    try:
        while any(t.is_alive() for t in callers):
            node = random.choice(nodes)  # one goes and comes back; what it was sent, it is sent again
            node.close()
            node.thread.join(10)
            node.open()
            node.ping()
            time.sleep(0.2)
    finally:
        stop.set()
        for t in [*callers, side]:
            t.join()
    assert failed == []
    assert len(accepted) == N_CALLERS * ROUNDS * 3

    assert box.plane.stop() == 0
    box.plane.restart()
    for node in nodes:
        node.get_token()
        node.open()
    for command, n_targets in accepted:
        def ended():
            got = box.plane.api.call("ListCommands", CommandId=command)["Commands"][0]
            return got if got["CompletedCount"] == got["TargetCount"] else None
        got = flsandbox.wait_for(f"command {command}", ended, 60)
        assert got["TargetCount"] == n_targets and got["Status"] in ("Success", "Cancelled"), got
    box.plane.kill(signal.SIGTERM)
    box.plane.asked = True
    assert box.plane.stop() == 0
