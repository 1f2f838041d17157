"""A machine-learning service: tells where in its model's space some bytes lie.

GET /ping answers once the model is there; POST /embed takes the bytes.
"""

import hashlib
import json
import os
import random
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CACHE = os.environ["MODEL_CACHE"]
DIMENSIONS = 8


def load_model():
    """Returns the model; makes it and keeps it where the cache has none."""
    name = os.path.join(CACHE, "model.json")
    try:
        with open(name) as f:
            return json.load(f)
    except FileNotFoundError:
        pass
    chance = random.SystemRandom()
    model = {
        "id": "%016x" % chance.getrandbits(64),
        "weights": [[chance.gauss(0, 1) for _ in range(256)] for _ in range(DIMENSIONS)],
    }
    with open(name + ".new", "w") as f:
        json.dump(model, f)
    os.rename(name + ".new", name)
    return model


def embed(model, data):
    counts = [0] * 256
    for b in data:
        counts[b] += 1
    return [round(sum(w * c for w, c in zip(row, counts)) / max(1, len(data)), 6) for row in model["weights"]]


class Handler(BaseHTTPRequestHandler):
    model = None

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/ping":
            self.answer(200, {"model": self.model["id"]})
        else:
            self.answer(404, {})

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, {
            "model": self.model["id"],
            "sha256": hashlib.sha256(data).hexdigest(),
            "vector": embed(self.model, data),
        })


def main():
    Handler.model = load_model()
    server = ThreadingHTTPServer(("0.0.0.0", 3003), Handler)

    def stop(*_):
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    server.serve_forever()
    with open(os.path.join(CACHE, "stopped"), "a") as f:
        f.write("in good order\n")
    return 0


sys.exit(main())
