"""A TCP server that sends back what it gets, and bytes sent through a tunnel to it."""
import contextlib
import socket
import threading


@contextlib.contextmanager
def server():
    """The port; until the end of input each connection gets back what it sent."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(sock):
        with sock:
            while data := sock.recv(65536):
                sock.sendall(data)

    def accept():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with listener:
        yield listener.getsockname()[1]


def exchange(sock, data):
    """Sends data and returns as many bytes as were sent."""
    threading.Thread(target=sock.sendall, args=(data,), daemon=True).start()
    got = bytearray()
    while len(got) < len(data):
        piece = sock.recv(65536)
        assert piece, f"end after {len(got)} of {len(data)} bytes"
        got += piece
    return bytes(got)


def through(address, data, timeout_s=120):
    """The same over a connection of its own."""
    with socket.create_connection(address, timeout_s) as sock:
        return exchange(sock, data)


def banner_server(connections):
    """Says something first, and tells what each connection said."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                sock, _ = server.accept()
            except OSError:
                return
            with sock:
                sock.sendall(b"hello\n")
                said = bytearray()
                while data := sock.recv(65536):
                    said += data
                    sock.sendall(data)
                connections.append(bytes(said))

    threading.Thread(target=serve, daemon=True).start()
    return server
