"""10,000 times a node connects to the plane and goes: in order, without a word, half-way, or at once."""
import concurrent.futures
import os
import time

import flsandbox
import meter
import refnode
import wire

NAME = "connects"
ABOUT = "10,000 connections of nodes, opened and lost in four ways"
CYCLES = 10_000
NODES = 2
SAMPLES = 50


def in_order(node):
    node.open(listen=False)
    node.channel.close()


def without_a_word(node):
    node.open(listen=False)
    node.channel.abort()
    node.channel.sock.close()


def half_way(node):
    status, channel = node.dial()
    assert status == 101, status
    channel.abort()
    channel.sock.close()


def at_once(node):
    wire.tls_connect(node.host, node.port, node.ca_file).close()


WAYS = (in_order, without_a_word, half_way, at_once)


def run(run):
    n = run.count(CYCLES, least=80)
    with flsandbox.Sandbox(nodes=0, build=run.build, folder=run.place) as box:
        activation = box.plane.activation(limit=NODES)
        nodes = [refnode.RefNode(box.plane.endpoint, box.plane.ca_file) for _ in range(NODES)]
        for node in nodes:
            node.online(activation)
            node.close()
        cycle_all(run, box.plane, nodes, n)


def fds(plane):
    return len(os.listdir(f"/proc/{plane.pid}/fd"))


def cycle_all(run, plane, nodes, n):
    meters, started = meter.Meter(plane), time.monotonic()
    time.sleep(1)  # the connections of the registrations go
    before = fds(plane)

    def one_node(number):
        for i in range(n // NODES):
            WAYS[i % len(WAYS)](nodes[number])
            if number == 0 and i % max(1, n // NODES // SAMPLES) == 0:
                meters.take()

    with concurrent.futures.ThreadPoolExecutor(NODES) as pool:
        for f in [pool.submit(one_node, i) for i in range(NODES)]:
            f.result()
    seconds = time.monotonic() - started
    try:
        flsandbox.wait_for("every connection to go", lambda: fds(plane) <= before, 60, 0.2)
    except flsandbox.SandboxError:
        pass
    run.figure("connects a second", round(n / seconds, 1))
    run.check("every descriptor is given back", fds(plane) <= before, f"{before} -> {fds(plane)}")
    status = {plane.api.call("GetConnectionStatus", Target=node.node_id)["Status"] for node in nodes}
    run.check("no node is taken for connected", status == {"notconnected"}, status)
    for key in ("Rss", "threads"):  # memory fills up over some 4000 connects, and then stays
        meters.judge_one(run, "fairlead-server", key, warm_up=0.4)
