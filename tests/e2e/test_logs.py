"""The plane's logs subset with the AWS CLI and boto3, and what nodes may put where."""
import time

import botocore.exceptions
import pytest

import conftest
import flsandbox
from test_s3 import code_of, s3_client

FLEET = "/fleet"


@pytest.fixture(scope="module")
def place():
    with flsandbox.Sandbox(nodes=0) as box:
        yield box


@pytest.fixture(scope="module")
def logs(place):
    return conftest.client(place.plane, "logs")


def now_ms():
    return int(time.time() * 1000)


def put(logs, group, stream, *messages, at=None):
    at = at or now_ms()
    return logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[
        {"timestamp": at + i, "message": m} for i, m in enumerate(messages)])


def fresh(logs, group, *streams):
    logs.create_log_group(logGroupName=group)
    for stream in streams:
        logs.create_log_stream(logGroupName=group, logStreamName=stream)


def test_groups_and_streams(logs):
    fresh(logs, "/g/one", *[f"s{i:02d}" for i in range(7)])
    logs.create_log_group(logGroupName="/g/two")
    assert code_of(logs.create_log_group, logGroupName="/g/one") == "ResourceAlreadyExistsException"
    assert code_of(logs.create_log_stream, logGroupName="/g/one", logStreamName="s00") == "ResourceAlreadyExistsException"
    assert code_of(logs.create_log_stream, logGroupName="/none", logStreamName="s") == "ResourceNotFoundException"
    got = logs.describe_log_groups(logGroupNamePrefix="/g/")
    assert [g["logGroupName"] for g in got["logGroups"]] == ["/g/one", "/g/two"] and "nextToken" not in got
    pages = list(logs.get_paginator("describe_log_streams").paginate(
        logGroupName="/g/one", PaginationConfig={"PageSize": 3}))
    assert [len(p["logStreams"]) for p in pages] == [3, 3, 1]
    logs.put_retention_policy(logGroupName="/g/two", retentionInDays=7)
    assert logs.describe_log_groups(logGroupNamePrefix="/g/two")["logGroups"][0]["retentionInDays"] == 7
    put(logs, "/g/one", "s03", "x")
    put(logs, "/g/one", "s05", "x", at=now_ms() + 1000)
    names = [f"s{i:02d}" for i in range(7)]
    by_time = ["s00", "s01", "s02", "s04", "s06", "s03", "s05"]  # those without events first

    def streams(size, **members):
        pages = logs.get_paginator("describe_log_streams").paginate(
            logGroupName="/g/one", PaginationConfig={"PageSize": size}, **members)
        return [s["logStreamName"] for p in pages for s in p["logStreams"]]
    for size in (1, 3, 50):
        assert streams(size) == names == streams(size, orderBy="LogStreamName", descending=False)
        assert streams(size, descending=True) == names[::-1]
        assert streams(size, orderBy="LastEventTime") == by_time
        assert streams(size, orderBy="LastEventTime", descending=True) == by_time[::-1]
        assert streams(size, descending=True, logStreamNamePrefix="s0") == names[::-1]
        assert streams(size, descending=True, logStreamNamePrefix="s03") == ["s03"]
    token = logs.describe_log_streams(logGroupName="/g/one", limit=1)["nextToken"]
    for bad in ("garbage", token):
        assert code_of(logs.describe_log_groups, nextToken=bad) == "InvalidParameterException"
    for members in ({"orderBy": "LastEventTime", "logStreamNamePrefix": "s"}, {"nextToken": "x"},
                    {"nextToken": token, "descending": True}, {"limit": 51}, {"orderBy": "Time"}):
        with pytest.raises(botocore.exceptions.ClientError, match="InvalidParameterException|ValidationException"):
            logs.describe_log_streams(logGroupName="/g/one", **members)
    for group in ("/g/one", "/g/two"):
        logs.delete_log_group(logGroupName=group)
    assert code_of(logs.get_log_events, logGroupName="/g/one", logStreamName="s03") == "ResourceNotFoundException"


def test_pages_of_a_stream(logs):
    fresh(logs, "/pages", "s")
    words = [f"m{i:02d}" for i in range(25)]
    put(logs, "/pages", "s", *words)

    def get(**members):
        got = logs.get_log_events(logGroupName="/pages", logStreamName="s", **members)
        return [e["message"] for e in got["events"]], got["nextForwardToken"], got["nextBackwardToken"]
    found, token = [], None
    while True:
        page, forward, _ = get(limit=10, startFromHead=True, **({"nextToken": token} if token else {}))
        found += page
        if forward == token:
            break
        token = forward
    assert found == words
    page, forward, backward = get(limit=10)
    assert page == words[15:]
    assert get(limit=10, nextToken=backward)[0] == words[5:15]
    assert get(nextToken=forward)[:2] == ([], forward)
    assert get(nextToken=get(nextToken=forward)[2], limit=3)[0] == words[22:]  # and back from there
    _, _, top = get(startFromHead=True, limit=1)
    page, forward_from_top, again = get(nextToken=top)
    assert page == [] and again == top
    assert get(nextToken=forward_from_top, limit=3)[0] == words[:3]
    put(logs, "/pages", "s", "late", at=now_ms() + 1000)
    assert get(nextToken=forward)[0] == ["late"]


def test_a_stream_that_is_empty_so_far(logs):
    """Who asks for more of it gets what comes then."""
    fresh(logs, "/empty", "s")
    for start in ({}, {"startFromHead": True}):
        got = logs.get_log_events(logGroupName="/empty", logStreamName="s", **start)
        assert got["events"] == []
        start["token"] = got["nextForwardToken"]
        again = logs.get_log_events(logGroupName="/empty", logStreamName="s", nextToken=start["token"])
        assert again["nextForwardToken"] == start["token"]
        put(logs, "/empty", "s", "later")
        got = logs.get_log_events(logGroupName="/empty", logStreamName="s", nextToken=start["token"])
        assert [e["message"] for e in got["events"]] == ["later"]
        logs.delete_log_stream(logGroupName="/empty", logStreamName="s")
        logs.create_log_stream(logGroupName="/empty", logStreamName="s")


def test_filter(place, logs):
    fresh(logs, "/filter", "a", "b")
    at = now_ms()
    put(logs, "/filter", "a", "ERROR disk full", "all is well", "ERROR net down", at=at)
    put(logs, "/filter", "b", "warning: disk", "ERROR disk full again", at=at + 10)

    def find(pattern, **members):
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName="/filter", filterPattern=pattern, PaginationConfig={"PageSize": 1}, **members)
        return [e["message"] for p in pages for e in p["events"]]
    assert len(find("")) == 5
    assert find("ERROR disk") == ["ERROR disk full", "ERROR disk full again"]
    assert find('"disk full" -again') == ["ERROR disk full"]
    assert find("?well ?net") == ["all is well", "ERROR net down"]
    assert find("ERROR", logStreamNames=["b"]) == ["ERROR disk full again"]
    assert find("ERROR", logStreamNamePrefix="a", startTime=at + 1) == ["ERROR net down"]
    assert code_of(logs.filter_log_events, logGroupName="/filter", filterPattern="{ $.a = 1 }") == \
        "InvalidParameterException"
    assert code_of(logs.filter_log_events, logGroupName="/filter", logStreamNames=["a", "none"]) == \
        "ResourceNotFoundException"
    assert find("", logStreamNamePrefix="none") == []
    back = logs.get_log_events(logGroupName="/filter", logStreamName="a", limit=1)["nextBackwardToken"]
    assert code_of(logs.filter_log_events, logGroupName="/filter", nextToken=back) == "InvalidParameterException"
    assert len(find("", interleaved=True, endTime=at + 10)) == 4  # the end is among them
    aws = conftest.Aws(place)
    done = aws("logs", "filter-log-events", "--log-group-name", "/filter", "--filter-pattern", "well")
    assert done.code == 0 and [e["message"] for e in done.json["events"]] == ["all is well"], done
    done = aws("logs", "tail", "/filter", "--format", "short")
    assert done.code == 0 and done.out.count("\n") == 5, done


def test_what_is_refused(logs):
    fresh(logs, "/refuse", "s")
    at = now_ms()

    def events(*times):
        return logs.put_log_events(logGroupName="/refuse", logStreamName="s", sequenceToken="any",
                                   logEvents=[{"timestamp": t, "message": "m"} for t in times])
    assert code_of(events, at, at - 1) == "InvalidParameterException"
    got = events(at - 15 * 86400000, at, at + 3 * 3600000)
    assert got["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2}
    assert len(logs.get_log_events(logGroupName="/refuse", logStreamName="s")["events"]) == 1
    assert code_of(put, logs, "/refuse", "s", "x" * 262144) == "InvalidParameterException"
    assert code_of(put, logs, "/refuse", "none", "x") == "ResourceNotFoundException"


def test_what_would_be_another_thing(logs):
    fresh(logs, "/w/one", "s")
    logs.create_log_group(logGroupName="/w/two")
    assert [g["logGroupName"] for g in logs.describe_log_groups(logGroupNamePattern="w/t")["logGroups"]] == ["/w/two"]
    for call, members in (
            (logs.create_log_group, {"logGroupName": "/w/sealed", "kmsKeyId": "arn:aws:kms:local:1:key/x"}),
            (logs.describe_log_groups, {"logGroupNamePattern": "w", "logGroupNamePrefix": "/w"}),
            (logs.filter_log_events, {"logGroupName": "/w/one", "logStreamNames": ["s"], "logStreamNamePrefix": "s"})):
        assert code_of(call, **members) == "InvalidParameterException", members


def test_positions(logs):
    """A writer that says how far it comes is heard once; any other token means nothing."""
    fresh(logs, "/positions", "s", "t")
    one, two = "1" * 32, "2" * 32

    def say(text, token, stream="s"):
        return logs.put_log_events(logGroupName="/positions", logStreamName=stream, sequenceToken=token, logEvents=[
            {"timestamp": now_ms(), "message": text}])["nextSequenceToken"]

    def said(stream="s"):
        return [e["message"] for e in logs.get_log_events(logGroupName="/positions", logStreamName=stream,
                                                          startFromHead=True)["events"]]
    assert say("a", f"fairlead:{one}:0:5") == f"fairlead:{one}:5:5"
    for again in ("0:5", "0:7", "4:9"):
        assert say("again", f"fairlead:{one}:{again}") == f"fairlead:{one}:5:5"
    assert say("b", f"fairlead:{one}:5:9") == f"fairlead:{one}:9:9"
    assert say("t", f"fairlead:{one}:0:5", "t") == f"fairlead:{one}:5:5"
    for token in ("1", "fairlead:", f"fairlead:{one}:0", f"fairlead:{one}:5:0", f"fairlead:{one}:0:5:", f"fairlead:{one}:-1:5"):
        assert say("c", token) == "1"
    assert say("d", f"fairlead:{two}:0:5") == f"fairlead:{two}:5:5"
    assert said() == ["a", "b"] + ["c"] * 6 + ["d"] and said("t") == ["t"]


def test_the_oldest_make_room(new_box):
    box = new_box(nodes=0, conf={"LogsMaxBytes": 500_000})
    logs = conftest.client(box.plane, "logs")
    fresh(logs, "/room", "s")
    for i in range(30):
        put(logs, "/room", "s", *[f"{i} " + "x" * 1000] * 50)
    left = [int(e["message"].split()[0]) for e in
            logs.get_log_events(logGroupName="/room", logStreamName="s", startFromHead=True)["events"]]
    assert max(left) == 29 and min(left) > 15 and 300 < len(left) <= 490


def test_a_node_puts_its_own_outputs_only(place, logs, request):
    """Keys and streams below <command>/<itself>/, where the command says; no policy is needed for these, none helps elsewhere."""
    import refnode
    nodes = []
    for _ in range(2):
        node = refnode.RefNode(place.plane.endpoint, place.plane.ca_file)
        request.addfinalizer(node.close)
        node.online(place.plane.activation())
        nodes.append(node)
    me, other = nodes
    ssm, admin = conftest.client(place.plane, "ssm"), s3_client(place.plane)
    admin.create_bucket(Bucket="results")
    admin.create_bucket(Bucket="elsewhere")
    cmd = ssm.send_command(InstanceIds=[me.node_id], DocumentName="AWS-RunShellScript", Parameters={"commands": ["true"]},
                           OutputS3BucketName="results", OutputS3KeyPrefix="out",
                           CloudWatchOutputConfig={"CloudWatchLogGroupName": FLEET, "CloudWatchOutputEnabled": True}
                           )["Command"]["CommandId"]
    keys = tuple(me.credentials[k] for k in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    s3, own = s3_client(place.plane, *keys), f"out/{cmd}/{me.node_id}/awsrunShellScript/0.awsrunShellScript/stdout"
    s3.head_bucket(Bucket="results")
    s3.put_object(Bucket="results", Key=own, Body=b"hello")
    assert admin.get_object(Bucket="results", Key=own)["Body"].read() == b"hello"
    for bucket, key in (("elsewhere", own), ("results", own.replace("out/", "in/")), ("results", "out/x"),
                        ("results", own.replace(me.node_id, other.node_id)),
                        ("results", own.replace(cmd, "00000000-0000-4000-8000-000000000000"))):
        assert code_of(s3.put_object, Bucket=bucket, Key=key, Body=b"x") == "AccessDenied", (bucket, key)
    for call, members in ((s3.get_object, {"Key": own}), (s3.delete_object, {"Key": own}), (s3.list_objects, {})):
        assert code_of(call, Bucket="results", **members) == "AccessDenied"
    mine = conftest.client(place.plane, "logs", *keys)
    stream = f"{cmd}/{me.node_id}/aws-runShellScript/stdout"
    mine.create_log_group(logGroupName=FLEET)
    mine.create_log_stream(logGroupName=FLEET, logStreamName=stream)
    put(mine, FLEET, stream, "line")
    assert logs.get_log_events(logGroupName=FLEET, logStreamName=stream)["events"][0]["message"] == "line"
    assert mine.describe_log_streams(logGroupName=FLEET, logStreamNamePrefix=stream)["logStreams"]
    logs.create_log_group(logGroupName="/theirs")
    for call, members in ((mine.create_log_group, {"logGroupName": "/mine"}),
                          (mine.create_log_stream, {"logGroupName": "/theirs", "logStreamName": stream}),
                          (mine.create_log_stream, {"logGroupName": FLEET, "logStreamName": "free"}),
                          (mine.create_log_stream, {"logGroupName": FLEET,
                                                    "logStreamName": stream.replace(me.node_id, other.node_id)}),
                          (mine.describe_log_streams, {"logGroupName": FLEET}),
                          (mine.filter_log_events, {"logGroupName": FLEET}),
                          (mine.get_log_events, {"logGroupName": FLEET, "logStreamName": stream}),
                          (mine.put_retention_policy, {"logGroupName": FLEET, "retentionInDays": 1}),
                          (mine.delete_log_stream, {"logGroupName": FLEET, "logStreamName": stream}),
                          (mine.delete_log_group, {"logGroupName": FLEET})):
        assert code_of(call, **members) == "AccessDeniedException", members
