"""The application: keeps files that are uploaded to it.

Of each file it keeps a row in the database, the bytes below /data, a count in
redis, and what the machine-learning service says of it.

GET  /             shows all of it in a browser
POST /items/NAME   takes a file
GET  /items        lists the rows
GET  /items/NAME   gives the bytes back
GET  /health       whether all that it needs answers
"""

import argparse
import html
import http.client
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import psycopg2

DATA = "/data"


def database():
    e = os.environ
    return psycopg2.connect(
        host=e["DB_HOSTNAME"], dbname=e["DB_DATABASE"], user=e["DB_USERNAME"], password=e["DB_PASSWORD"], connect_timeout=3
    )


def redis(*words):
    """Sends one command and returns its answer, a number or a line."""
    with socket.create_connection((os.environ["REDIS_HOSTNAME"], 6379), timeout=3) as s, s.makefile("rwb") as f:
        f.write(b"*%d\r\n" % len(words))
        for w in words:
            w = w.encode()
            f.write(b"$%d\r\n%s\r\n" % (len(w), w))
        f.flush()
        line = f.readline().decode().rstrip()
        if line.startswith("-"):
            raise RuntimeError(line)
        if line.startswith("$"):
            return None if line == "$-1" else f.readline().decode().rstrip()
        return line[1:]


def learn(method, path, body=None):
    at = urlsplit(os.environ["MACHINE_LEARNING_URL"])
    c = http.client.HTTPConnection(at.hostname, at.port, timeout=5)
    try:
        c.request(method, path, body=body)
        r = c.getresponse()
        data = r.read()
        if r.status != 200:
            raise RuntimeError("machine learning answers %d" % r.status)
        return json.loads(data)
    finally:
        c.close()


def await_database():
    """Connects as soon as it can: with DHCP the network comes after the application."""
    for _ in range(100):
        try:
            return database()
        except psycopg2.OperationalError as e:
            print(e, file=sys.stderr)
            time.sleep(0.2)
    return database()


def prepare():
    os.makedirs(os.path.join(DATA, "files"), exist_ok=True)
    db = await_database()
    with db, db.cursor() as c:
        c.execute("CREATE TABLE IF NOT EXISTS items (name text PRIMARY KEY, sha256 text NOT NULL, vector text NOT NULL)")
    db.close()


def health():
    db = database()
    try:
        with db, db.cursor() as c:
            c.execute("SELECT count(*) FROM items")
            rows = c.fetchone()[0]
    finally:
        db.close()
    return {"greeting": os.environ["GREETING"], "items": rows, "uploads": int(redis("GET", "uploads") or 0),
            "model": learn("GET", "/ping")["model"]}


def store(name, data):
    said = learn("POST", "/embed", data)
    file = os.path.join(DATA, "files", name)
    with open(file + ".new", "wb") as f:
        f.write(data)
    os.rename(file + ".new", file)
    db = database()
    try:
        with db, db.cursor() as c:
            c.execute(
                "INSERT INTO items VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, vector = excluded.vector",
                (name, said["sha256"], json.dumps(said["vector"])),
            )
    finally:
        db.close()
    return {"name": name, "sha256": said["sha256"], "uploads": int(redis("INCR", "uploads"))}


def rows():
    db = database()
    try:
        with db, db.cursor() as c:
            c.execute("SELECT name, sha256, vector FROM items ORDER BY name")
            return [{"name": n, "sha256": s, "vector": json.loads(v)} for n, s, v in c.fetchall()]
    finally:
        db.close()


def services():
    """What each service answers, or why it does not."""
    for name, ask in {
        "PostgreSQL": lambda: "%d rows" % len(rows()),
        "redis": lambda: "%d uploads" % int(redis("GET", "uploads") or 0),
        "machine learning": lambda: "model " + learn("GET", "/ping")["model"][:12],
    }.items():
        try:
            yield name, True, ask()
        except Exception as e:
            yield name, False, str(e)


def page():
    def cells(*texts):
        return "<tr>%s</tr>" % "".join("<td>%s</td>" % html.escape(t) for t in texts)

    states = list(services())
    items = rows() if states[0][1] else []
    return PAGE % {
        "greeting": html.escape(os.environ["GREETING"]),
        "services": "".join(
            '<li class="%s"><b>%s</b> %s</li>' % ("well" if ok else "ill", html.escape(name), html.escape(said)) for name, ok, said in states
        ),
        "rows": "".join(cells(i["name"], i["sha256"][:16], " ".join("%.3f" % v for v in i["vector"][:4])) for i in items),
    }


PAGE = """<!doctype html>
<meta charset="utf-8"><title>stack</title><link rel="icon" href="data:,">
<style>
body { font: 16px/1.5 sans-serif; max-width: 46rem; margin: 2.5rem auto; padding: 0 1rem; color: #223; background: #f6f7f9 }
ul { display: flex; gap: 1rem; padding: 0; list-style: none } li { flex: 1; padding: .7rem 1rem; background: #fff; border-left: .4rem solid }
li b { display: block } .well { border-color: #2a9d5c } .ill { border-color: #c0392b }
table { width: 100%%; border-collapse: collapse; background: #fff } td, th { padding: .5rem 1rem; text-align: left; border-bottom: 1px solid #e3e6ea }
td + td { font-family: monospace }
</style>
<h1>%(greeting)s</h1>
<p>An application of four containers: this page, and the three that it asks.</p>
<ul>%(services)s</ul>
<h2>Files</h2>
<table><tr><th>name</th><th>SHA-256</th><th>vector</th></tr>%(rows)s</table>
<p><label>Add one: <input type="file" id="file"></label></p>
<script>
file.onchange = async () => {
  const name = file.files[0].name.toLowerCase().replace(/[^a-z0-9.-]/g, "-").replace(/^[.-]+/, "") || "file"
  await fetch("items/" + name, { method: "POST", body: file.files[0] })
  location.reload()
}
</script>
"""


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, data, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_with(self, status, f):
        try:
            self.answer(status, json.dumps(f()).encode())
        except Exception as e:
            self.answer(503, json.dumps({"error": str(e)}).encode())

    def item(self):
        m = re.fullmatch(r"/items/([a-z0-9][a-z0-9.-]*)", self.path)
        return m and m.group(1)

    def do_GET(self):
        if self.path == "/":
            self.answer(200, page().encode(), "text/html; charset=utf-8")
        elif self.path == "/health":
            self.handle_with(200, health)
        elif self.path == "/items":
            self.handle_with(200, rows)
        elif self.item() and os.path.exists(os.path.join(DATA, "files", self.item())):
            with open(os.path.join(DATA, "files", self.item()), "rb") as f:
                self.answer(200, f.read(), "application/octet-stream")
        else:
            self.answer(404, b"{}")

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.item():
            self.handle_with(201, lambda: store(self.item(), data))
        else:
            self.answer(404, b"{}")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--port", type=int, required=True)
    port = args.parse_args().port
    prepare()
    server = ThreadingHTTPServer(("0.0.0.0", port), Handler)

    def stop(*_):
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    server.serve_forever()
    with open(os.path.join(DATA, "stopped"), "a") as f:
        f.write("in good order\n")
    return 0


sys.exit(main())
