"""ClickHouse's HTTP interface over the engine of chdb, in this process. Prints its port; ends when its standard input does.

    server.py FOLDER        the folder keeps the tables; files are read below it

It has one user, `ada`, whose password is `lovelace`. Where a file `FOLDER/trouble` has a word, inserts go wrong, every other one:
    lost      done, and the connection is closed without an answer
    busy      not done, and answered with 503
    memory    not done, and answered with an exception that passes
    late      done, and answered with 200 and an exception
or each that comes for the first time:
    held      done when it comes again, and not answered before
"""

import http.server
import os
import re
import sys
import threading
import urllib.parse

os.chdir(sys.argv[1])
import chdb.session

session = chdb.session.Session("tables")
inserts = 0
engine = threading.Lock()
came, waiting = {}, []


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body=b"", code=None):
        self.send_response(status)
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except BrokenPipeError:
            pass  # The client has gone.

    def do_POST(self):
        global inserts
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query, keep_blank_values=True))
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            return  # The client died in the midst of it; so does an insert.
        user, key = self.headers.get("X-ClickHouse-User"), self.headers.get("X-ClickHouse-Key")
        if (user, key) != ("ada", "lovelace"):
            said = "Code: 516. DB::Exception: %s: Authentication failed: password is incorrect. (AUTHENTICATION_FAILED)"
            return self.answer(403, (said % user + "\nmore of it").encode(), "516")
        assert asked.pop("wait_end_of_query") == "1"
        query = asked.pop("query", None)
        values = {name[6:]: text for name, text in asked.items() if name.startswith("param_")}
        settings = {name: text for name, text in asked.items() if not name.startswith("param_")}
        trouble = ""
        if query:
            assert self.headers["Content-Encoding"] == "zstd"
            settings.pop("query_id")
            begin, form = query.rsplit(" FORMAT ", 1)
            begin += " FROM INFILE 'body.zst' COMPRESSION 'zstd'"
            trouble = open("trouble").read() if os.path.exists("trouble") else ""
            inserts += 1
            if trouble == "held":
                token = settings["insert_deduplication_token"] + begin
                again = came.setdefault(token, threading.Event())
                if again in waiting:
                    again.set()
                else:
                    waiting.append(again)
                    again.wait()
            elif inserts % 2 == 0:
                trouble = ""
        else:
            begin, form = body.decode(), None
            if " FORMAT " in begin:
                begin, form = begin.rsplit(" FORMAT ", 1)
        if trouble == "busy":
            return self.answer(503, b"busy")
        if trouble == "memory":
            return self.answer(500, b"Code: 241. DB::Exception: Memory limit exceeded", "241")
        if settings:
            begin += " SETTINGS " + ", ".join(f"{name} = '{text}'" for name, text in settings.items())
        if query and form:
            begin += " FORMAT " + form
        try:
            with engine:
                with open("body.zst", "wb") as file:
                    file.write(body)
                form = form if form and not query else "TabSeparated"
                said = str(session.query(begin, form, params=values or None)).encode()
        except Exception as error:
            said = str(error)
            code = re.search(r"Code: (\d+)", said)
            return self.answer(500, said.encode(), code.group(1) if code else "0")
        if trouble == "late":
            return self.answer(200, b"Code: 209. DB::Exception: Timeout exceeded while writing")
        if trouble == "lost":
            self.close_connection = True
            return self.connection.close()
        self.answer(200, said)

    def do_GET(self):
        """For the tests themselves: `/SQL` as it stands, answered as lists of JSON."""
        sql = urllib.parse.unquote(self.path[1:])
        try:
            with engine:
                said = str(session.query(sql, "JSONCompactEachRow"))
            self.answer(200, ("[" + ",".join(said.splitlines()) + "]").encode())
        except Exception as error:
            self.answer(500, str(error).encode())

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server.serve_forever()
