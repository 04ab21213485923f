"""A command's whole output: from our agent into our plane's bucket and log group, read back with the stock AWS CLI."""
import json

LINES = 5000  # more than a reply holds
SCRIPT = f'i=0; while [ $i -lt {LINES} ]; do echo "line $i"; i=$((i + 1)); done; echo oops >&2'
WHOLE = "".join(f"line {i}\n" for i in range(LINES))


def test_outputs_are_read_back(new_box, aws_of):
    box = new_box(nodes=1)
    aws, node = aws_of(box), box.agents[0].node_id
    aws.fails("InvalidOutputFolder", "send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", node,
              "--parameters", "commands=true", "--output-s3-bucket-name", "outputs")
    made = aws("s3", "mb", "s3://outputs")
    assert made.code == 0, made
    command = aws.ok("send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", node,
                     "--parameters", json.dumps({"commands": [SCRIPT]}),
                     "--output-s3-bucket-name", "outputs", "--output-s3-key-prefix", "/nightly//./",
                     "--cloud-watch-output-config", "CloudWatchOutputEnabled=true")["Command"]["CommandId"]
    got = aws.settled(command, node)
    assert got["Status"] == "Success" and got["StandardOutputContent"].endswith("--output truncated--")
    below = f"nightly/{command}/{node}/awsrunShellScript/0.awsrunShellScript"
    for stream, text in (("stdout", WHOLE), ("stderr", "oops\n")):
        read = aws("s3", "cp", f"s3://outputs/{below}/{stream}", "-")
        assert read.code == 0 and read.out == text, read
    assert got["StandardOutputUrl"].endswith(f"/outputs/{below}/stdout"), got["StandardOutputUrl"]
    group = "/aws/ssm/AWS-RunShellScript"
    streams = aws("logs", "describe-log-streams", "--log-group-name", group).json["logStreams"]
    assert sorted(s["logStreamName"] for s in streams) == [
        f"{command}/{node}/aws-runShellScript/{s}" for s in ("stderr", "stdout")]
    events = aws("logs", "filter-log-events", "--log-group-name", group, "--log-stream-names",
                 f"{command}/{node}/aws-runShellScript/stdout").json["events"]
    assert "".join(e["message"] for e in events).split() == WHOLE.split()
