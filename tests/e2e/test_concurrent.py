"""The plane under many callers at once: what each thread of it does meets what the others do.

A test like any other; under ThreadSanitizer (`make check-tsan`) it is what looks for races.
"""
import random
import signal
import threading
import time

import pytest

import conftest
import flsandbox
import test_transcripts
from test_transcripts import recorded  # noqa: F401, a fixture

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


@pytest.mark.first
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


# ---- sessions ---------------------------------------------------------------------------------------

ALARMS = [{"Name": f"end-{n}", "Pattern": f"never-{n}", "End": True} for n in range(4)]
LINES = 1500


def raise_alarms(place, client):
    """One that ends the session, and more while it ends."""
    for n in range(len(ALARMS)):
        client.send(b": never-%d\r" % n)


WAYS = {  # what happens while it prints, and what ends it
    "exit": (None, lambda place, client: client.send(b"exit\r")),
    "the client comes back": (lambda client, agent: client.drop(), lambda place, client: client.send(b"exit\r")),
    "the agent comes back": (lambda client, agent: agent.drop(), lambda place, client: client.send(b"exit\r")),
    "alarms": (lambda client, agent: client.resize(80, 24), raise_alarms),
    "terminated": (lambda client, agent: client.resize(90, 20),
                   lambda place, client: place.call("TerminateSession", SessionId=client.session_id)),
}


def sessions(place, document, ways, ended, failed):
    for way in ways:
        during, end = WAYS[way]
        try:
            client, agent = place.start(document)
            client.wait_ready(60)
            client.send(b"for i in $(seq %d); do echo line-$i; done; echo fin''ished\r" % LINES)
            client.wait_output(b"line-3\r\n", 60)
            if during:
                during(client, agent)
            client.wait_output(b"finished", 120)
            lines = [l for l in bytes(client.output).replace(b"\r", b"").split(b"\n") if l.startswith(b"line-")]
            assert lines == [b"line-%d" % i for i in range(1, LINES + 1)], way
            end(place, client)
            assert client.wait_end(60) == "closed", client
            assert client.violations == [] and agent.violations == [], (client, agent)
            ended.append(client.session_id)
        except Exception as e:  # in a thread: told to the test
            failed.append(f"{way}: {e!r}")


def readers(place, stop, failed):
    """Who looks at sessions and transcripts while these run."""
    while not stop.is_set():
        try:
            place.call("DescribeSessions", State="Active")
            place.rows("search", "line-12")
            for row in place.rows("list")[:2]:
                done = place.cli("transcripts", "verify", row["SessionId"])
                assert done.returncode == 0, done
                place.cli("transcripts", "export", row["SessionId"])
            assert place.plane.api.get("/metrics")[0] == 200
        except Exception as e:
            failed.append(repr(e))


@pytest.mark.slow
def test_many_sessions_at_once(recorded):  # noqa: F811
    """Recorded sessions that lose connections, raise alarms and end in every way, and readers: all that was said is
    there, in every transcript, too; a plane that stops in the middle of some has written what was seen of them."""
    place = recorded(SessionAlarms=ALARMS)
    conftest.client(place.plane, "logs").create_log_group(logGroupName="/sessions")
    conftest.client(place.plane, "s3").create_bucket(Bucket="transcripts")
    documents = [place.document("Streams", cloudWatchLogGroupName="/sessions", cloudWatchStreamingEnabled=True),
                 place.document("Keeps", s3BucketName="transcripts"), None]
    ended, failed, stop = [], [], threading.Event()
    workers = [threading.Thread(target=sessions, args=(place, d, random.Random(n).sample(list(WAYS), len(WAYS)),
                                                       ended, failed)) for n, d in enumerate(documents)]
    reader = threading.Thread(target=readers, args=(place, stop, failed))
    for t in [*workers, reader]:
        t.start()
    for t in workers:
        t.join()
    stop.set()
    reader.join()
    assert failed == []
    assert len(ended) == len(documents) * len(WAYS)

    running = [place.start(d)[0] for d in documents]
    for client in running:
        client.wait_ready()
        client.send(b"for i in $(seq %d); do echo line-$i; done; echo fin''ished\r" % LINES)
        client.wait_output(b"line-3\r\n")
    assert place.plane.stop() == 0
    shown = [bytes(client.output) for client in running]
    place.plane.restart()
    for client, saw in zip(running, shown):
        assert place.cli("transcripts", "export", "--raw", client.session_id).stdout.startswith(saw)
        place.call("TerminateSession", SessionId=client.session_id)
    for session in ended:
        assert place.ended(session)["Recorded"] == "output"
        assert test_transcripts.whole(place, session)
        said = place.cli("transcripts", "export", "--raw", session).stdout
        assert said.count(b"line-%d\r\n" % LINES) == 1, session
