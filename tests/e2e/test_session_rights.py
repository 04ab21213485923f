"""Who may start, resume and end which session, as a table; what the audit log has of it; and what connections get that
have no business at a session."""
import json
import time

import pytest

import flsandbox
import sessionwire as sw
import test_sessions
import wire

NODE, DOCUMENT = "arn:aws:ssm:*:*:managed-instance/", "arn:aws:ssm:*:*:document/"


def allow(action, *resources, effect="Allow", **conditions):
    """`Key__Sub="value"` is the condition that the tag is that."""
    statement = {"Effect": effect, "Action": action, "Resource": list(resources)}
    if conditions:
        statement["Condition"] = {"StringEquals": {f"ssm:resourceTag/{k}": v for k, v in conditions.items()}}
    return statement


@pytest.fixture(scope="module")
def place():
    with flsandbox.Sandbox(nodes=0) as box:
        p = test_sessions.Place(box.plane)
        p.users = f"arn:aws:iam::{json.loads((box.plane.data / 'server.json').read_text())['Account']}:user/"
        p.call("AddTagsToResource", ResourceType="ManagedInstance", ResourceId=p.target,
               Tags=[{"Key": "Env", "Value": "prod"}])
        p.document("Own-Shell")
        p.document("Own-Port", sessionType="Port", properties={"portNumber": "22"})
        yield p
        p.close()


def audited(place, operation, arn):
    """(status, error) of a caller's calls, in their order."""
    return [(a["status"], a.get("error")) for a in place.audit(f"ssm:{operation}", arn.rpartition(":")[2])
            if a.get("caller") == arn]


START = {
    # name: (statements, document or None for the default, may it)
    "nothing": ([], None, False),
    "the node, not the default document": ([allow("ssm:StartSession", NODE + "*")], None, False),
    "the node and the default document": ([allow("ssm:StartSession", NODE + "*",
                                                 DOCUMENT + "SSM-SessionManagerRunShell")], None, True),
    "the node, not the document": ([allow("ssm:StartSession", NODE + "*")], "Own-Port", False),
    "the document, not the node": ([allow("ssm:StartSession", DOCUMENT + "Own-Port")], "Own-Port", False),
    "both": ([allow("ssm:StartSession", NODE + "*", DOCUMENT + "Own-Port")], "Own-Port", True),
    "another document": ([allow("ssm:StartSession", NODE + "*", DOCUMENT + "Own-Port")], "Own-Shell", False),
    "a document denied": ([allow("ssm:StartSession", "*"),
                           allow("ssm:StartSession", DOCUMENT + "Own-Port", effect="Deny")], "Own-Port", False),
    "another denied": ([allow("ssm:StartSession", "*"),
                        allow("ssm:StartSession", DOCUMENT + "Own-Port", effect="Deny")], "Own-Shell", True),
    "another node": ([allow("ssm:StartSession", NODE + "mi-00000000000000000", DOCUMENT + "*")], "Own-Shell", False),
    "the tag": ([allow("ssm:StartSession", NODE + "*", Env="prod"),
                 allow("ssm:StartSession", DOCUMENT + "*")], "Own-Shell", True),
    "another tag": ([allow("ssm:StartSession", NODE + "*", Env="dev"),
                     allow("ssm:StartSession", DOCUMENT + "*")], "Own-Shell", False),
    "the tag denied": ([allow("ssm:StartSession", "*"),
                        allow("ssm:StartSession", NODE + "*", effect="Deny", Env="prod")], "Own-Shell", False),
}


@pytest.mark.parametrize("name", START)
def test_who_may_start(place, name):
    statements, document, may = START[name]
    user = "u" + name.replace(" ", "-").replace(",", "")
    api = test_sessions.new_user(place.plane, user, statements or [allow("ssm:ListDocuments", "*")])
    arn = place.users + user
    members = {"DocumentName": document} if document else {}
    if may:
        session = api.call("StartSession", Target=place.target, **members)["SessionId"]
        assert place.row(session)["Owner"] == arn
        want = (200, None)
    else:
        test_sessions.refused(lambda: api.call("StartSession", Target=place.target, **members), "AccessDeniedException")
        want = (400, "AccessDeniedException")
    flsandbox.wait_for("the audit line", lambda: audited(place, "StartSession", arn) == [want])


OF_OWN = [allow(["ssm:TerminateSession", "ssm:ResumeSession"], "arn:aws:ssm:*:*:session/${aws:username}-*")]
END = {
    # name: (whose right, statements, may it)
    "its owner, by name": ("owner", OF_OWN, True),
    "another, by name": ("other", OF_OWN, False),
    "another, of all": ("other", [allow(["ssm:TerminateSession", "ssm:ResumeSession"], "*")], True),
    "another, who may all else": ("other", [
        allow("ssm:*", "*"), allow(["ssm:TerminateSession", "ssm:ResumeSession"], "*", effect="Deny")], False),
    "another, of the node's": ("other", [allow(["ssm:TerminateSession", "ssm:ResumeSession"], "*",
                                               **{"aws:ssmmessages:target-id": "NODE"})], True),
    "another, of another node's": ("other", [allow(["ssm:TerminateSession", "ssm:ResumeSession"], "*", **{
        "aws:ssmmessages:target-id": "mi-00000000000000000"})], False),
    "its owner, without": ("owner", [], False),
}


@pytest.mark.parametrize("name", END)
def test_who_may_resume_and_end(place, name):
    who, statements, may = END[name]
    for s in statements:
        for condition in s.get("Condition", {}).values():
            condition.update({k: place.target for k, v in condition.items() if v == "NODE"})
    tail = name.replace(" ", "-").replace(",", "").replace("'", "")
    owner = test_sessions.new_user(place.plane, f"o-{tail}", [allow("ssm:StartSession", "*")] + (
        statements if who == "owner" else []))
    api = owner if who == "owner" else test_sessions.new_user(place.plane, f"e-{tail}", statements)
    arn = place.users + f"{'o' if who == 'owner' else 'e'}-{tail}"
    session = owner.call("StartSession", Target=place.target, DocumentName="Own-Shell")["SessionId"]
    for operation in "ResumeSession", "TerminateSession":
        if may:
            assert api.call(operation, SessionId=session)["SessionId"] == session
        else:
            test_sessions.refused(lambda op=operation: api.call(op, SessionId=session), "AccessDeniedException")
        want = (200, None) if may else (400, "AccessDeniedException")
        flsandbox.wait_for("the audit line", lambda op=operation: audited(place, op, arn) == [want])
    if may:
        ended = place.until(session, "Terminated")
        assert ended["Details"] == f"The session was terminated by {arn}."
        flsandbox.wait_for("the audit line of the end", lambda: place.audit("fairlead:SessionEnded", session))
    else:
        assert place.row(session)["State"] == "Active"
        assert not place.audit("fairlead:SessionEnded", session)
        place.call("TerminateSession", SessionId=session)


def test_a_user_whose_name_begins_anothers(place):
    """The pattern that is often seen, and the condition that means what was meant."""
    both = ["ssm:TerminateSession", "ssm:ResumeSession"]
    may_start = allow("ssm:StartSession", "*")
    longer = test_sessions.new_user(place.plane, "pat-admin", [may_start])
    by_name = test_sessions.new_user(place.plane, "pat", OF_OWN + [may_start])
    by_id = test_sessions.new_user(place.plane, "pat-", [may_start, allow(both, "*", **{
        "aws:ssmmessages:session-id": "${aws:userid}"})])
    theirs, own = (a.call("StartSession", Target=place.target, DocumentName="Own-Shell")["SessionId"]
                   for a in (longer, by_id))
    assert by_name.call("ResumeSession", SessionId=theirs)["TokenValue"]  # as in AWS: docs/user-guide.md warns of it
    for operation in "ResumeSession", "TerminateSession":
        test_sessions.refused(lambda op=operation: by_id.call(op, SessionId=theirs), "AccessDeniedException")
        assert by_id.call(operation, SessionId=own)["SessionId"] == own
    place.call("TerminateSession", SessionId=theirs)


# ---- connections that have no business there ----------------------------------------------------------------

def heard_until_closed(ws, timeout_s=60):
    """(what was said, the code it was closed with)."""
    said, until = [], time.monotonic() + timeout_s
    try:
        while time.monotonic() < until:
            said.append(ws.recv(timeout_s=timeout_s))
    except wire.WsClosed as e:
        return said, e.code
    raise AssertionError("never closed")


def test_a_connection_without_a_token(place):
    """It is closed, and has heard nothing of a session that talks all the time."""
    client, _ = place.start("Own-Shell")
    client.wait_ready()
    client.send(b"while sleep 0.1; do echo se''cret; done\r")
    client.wait_output(b"secret")
    ws = test_sessions.dial(place, client.session_id)
    assert heard_until_closed(ws) == ([], 1008)
    client.send(b"\x03echo still''here\r")
    client.wait_output(b"stillhere")


@pytest.mark.parametrize("what", ["used", "of another session", "made up"])
def test_a_connection_with_a_token_that_is_not_its(place, what):
    """As one that somebody has seen on a client's way: refused, audited, told nothing; the client notices nothing."""
    answer, _ = place.start("Own-Shell", client=False)
    other, _ = place.start("Own-Shell", client=False)
    client = place.connect(answer)
    client.wait_ready()
    client.send(b"while sleep 0.1; do echo se''cret; done\r")
    client.wait_output(b"secret")
    token = {"used": answer["TokenValue"], "of another session": other["TokenValue"], "made up": "AAAA" * 40}[what]
    before = len(place.audit("ssmmessages:OpenDataChannel", answer["SessionId"]))
    ws = test_sessions.dial(place, answer["SessionId"])
    ws.send_text(test_sessions.first_frame(token))
    ws.send_binary(wire.encode_message("input_stream_data", b"\x03rm -rf /\r", sw.new_id(), ptype=1))
    assert heard_until_closed(ws) == ([], 1008)
    lines = flsandbox.wait_for("the audit line", lambda: place.audit(
        "ssmmessages:OpenDataChannel", answer["SessionId"])[before:])
    assert [(a["status"], a["error"]) for a in lines] == [(403, "AccessDeniedException")]
    assert "caller" not in lines[0] and lines[0]["sourceIp"] == "127.0.0.1", lines
    seen = client.output.count(b"secret")
    client.wait(lambda: client.output.count(b"secret") > seen, what="more output")
    assert not client.resumes and client.ended is None
