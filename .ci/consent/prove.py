"""That a purchase needs the user's yes, and that one yes buys once: with the official clients.

Usage: prove.py PATH_OF_LAYER_MCP

Each client talks to the server with its offline Layer, once as a client that shows forms and once
as one that can't. Prints a table of clients and cases. Exits with 1 when a case went wrong in any
client, or a client is missing.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

# Nothing is written beside the sources.
sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from clients import check, install  # noqa: E402
from clients.drivers import all_of_them  # noqa: E402

YES, NO = {"confirm": True}, {"confirm": False}
# Nobody takes less to read a question (seconds).
A_MOMENT = 0.6
# In less the whole call is over, when the client answers at once: so was the answer.
AT_ONCE = 0.39
SAID_NO, CLOSED = "the user was asked and said no", "closed the question"
BY_ITSELF = "the client itself answered"


class Cases:
    """One server with an account of its own, one client, and what is tried with them."""

    def __init__(self, client, program, home, forms, protocol):
        self.client = client
        self.number = 0
        (home / "project").mkdir(parents=True)
        server = {
            "command": program,
            "args": ["--sandbox", "serve"],
            "env": {
                "HOME": str(home),
                "LAYER_MCP_HOME": str(home / "layer-mcp"),
                "LAYER_OUTPUT_DIR": str(home / "project"),
                "LAYER_SANDBOX_SPEED": "50",
                "LAYER_CONFIRM_ABOVE_CU": "0.1",
                "LAYER_LOG": "warn",
            },
            "cwd": str(home),
        }
        spoken = client.open(server, forms)
        check(spoken == protocol, f"it speaks {spoken}")

    # What a call answers with

    def call(self, tool, arguments, answer=None):
        """Whether it is an error, its data, and the questions that were asked meanwhile."""
        result, questions = self.client.call(tool, arguments, answer)
        data = json.loads(result["content"][0]["text"])
        wrong = bool(result.get("isError"))
        check(wrong or result["structuredContent"] == data, f"text and data differ: {result}")
        return wrong, data, questions

    def done(self, tool, arguments, answer=None, asked=0):
        wrong, data, questions = self.call(tool, arguments, answer)
        check(not wrong, f"{tool}: {data}")
        check(len(questions) == asked, f"{tool}: asked {len(questions)} times: {questions}")
        return data

    def refused(self, tool, arguments, answer=None, asked=0):
        wrong, data, questions = self.call(tool, arguments, answer)
        check(wrong and data["code"] == "confirmation_needed", f"{tool}: {data}")
        check(data["money"] == "not_charged" and not data["retryable"], f"{tool}: {data}")
        check(len(questions) == asked, f"{tool}: asked {len(questions)} times: {questions}")
        return data

    def wish(self):
        self.number += 1
        return {"prompt": f"crate number {self.number}", "width": 64, "height": 64}

    def spent(self):
        """How many jobs there are, and what is left of the money."""
        jobs = self.done("list_jobs", {"limit": 100})["jobs"]
        return len(jobs), self.done("get_workspace_info", {})["balance_cu"]

    def buys_once(self, buy):
        """`buy` makes exactly one job, that costs what it says and whose file is there."""
        (jobs, money), job = self.spent(), buy()
        check(job["status"] == "complete" and job["cost_cu"] > 0, f"{job}")
        (file,) = job["files"]
        check(Path(file["path"]).stat().st_size == file["bytes"] > 0, f"{file}")
        check(self.spent() == (jobs + 1, money - job["cost_cu"]), f"{self.spent()} after {money}")
        return job

    def buys_nothing(self, answer, words):
        wish, before = self.wish(), self.spent()
        message = self.refused("create_asset", wish, answer, asked=1)["message"]
        check(words.lower() in message.lower(), f"{message!r} instead of {words!r}")
        check(self.spent() == before, "something was bought")

    # With forms

    def accept(self):
        answer = {"action": "accept", "content": YES, "after": A_MOMENT}
        self.bought = self.wish()
        self.job = self.buys_once(lambda: self.done("create_asset", self.bought, answer, asked=1))

    def same_call(self):
        before = self.spent()
        again = self.done("create_asset", self.bought)
        check(again["job_id"] == self.job["job_id"], f"another job: {again}")
        check(self.spent() == before, "it was bought twice")

    def decline(self):
        self.buys_nothing({"action": "decline", "after": A_MOMENT}, SAID_NO)

    def cancel(self):
        self.buys_nothing({"action": "cancel", "after": A_MOMENT}, CLOSED)

    def decline_at_once(self):
        return self.at_once("decline")

    def cancel_at_once(self):
        return self.at_once("cancel")

    def at_once(self, action):
        after = self.client.at_once
        if after is None:
            return "each answer is a command of its own, which may take longer than 'at once'"
        # Where this machine takes its time, a try shows nothing.
        for _ in range(20):
            wish, before, began = self.wish(), self.spent(), time.monotonic()
            answer = {"action": action, "after": after}
            message = self.refused("create_asset", wish, answer, asked=1)["message"].lower()
            quick = time.monotonic() - began < AT_ONCE
            check(self.spent() == before, "something was bought")
            if quick:
                check(f"{BY_ITSELF} `{action}`" in message, message)
                return None
        return "this machine is too slow for it"

    def accept_without_yes(self):
        self.buys_nothing({"action": "accept", "content": NO, "after": A_MOMENT}, SAID_NO)

    def accept_without_content(self):
        answer = {"action": "accept", "after": A_MOMENT}
        self.buys_nothing(answer, "without the user's yes in it")

    def confirm_spend_asks(self):
        answer = {"action": "accept", "content": YES, "after": A_MOMENT}
        wish = self.wish()
        quote = {"quote_id": self.done("quote", {"arguments": json.dumps(wish)})["quote_id"]}
        self.done("confirm_spend", quote, answer, asked=1)
        self.buys_once(lambda: self.done("create_asset", wish | quote))

    # Without

    def confirm_spend(self):
        self.bought, before = self.wish(), self.spent()
        quote = {"quote_id": self.refused("create_asset", self.bought)["quote_id"]}
        self.refused("create_asset", self.bought | quote)
        self.done("confirm_spend", quote)
        check(self.spent() == before, "something was bought")
        self.job = self.buys_once(lambda: self.done("create_asset", self.bought | quote))
        self.bought |= quote


# The heading of each case.
FORMS = {
    Cases.accept: "accept",
    Cases.same_call: "again",
    Cases.decline: "decline",
    Cases.cancel: "cancel",
    Cases.decline_at_once: "dec. 0 s",
    Cases.cancel_at_once: "can. 0 s",
    Cases.accept_without_yes: "yes=no",
    Cases.accept_without_content: "yes=?",
    Cases.confirm_spend_asks: "by tool",
}
NO_FORMS = {Cases.confirm_spend: "no form", Cases.same_call: "again"}
# Cases that a client may be unable to do; all others must be done.
MAY_LACK = {Cases.decline_at_once, Cases.cancel_at_once}


def main():
    program = str(Path(sys.argv[1]).resolve())
    try:
        install()
    except Exception as error:
        sys.exit(f"prove.py: a client is missing: {error}")
    headings = [*FORMS.values(), *NO_FORMS.values()]
    print(f"{'':32}" + "".join(f"{heading:9}" for heading in headings), flush=True)
    remarks, failed = [], False
    # Short, for it holds sockets, whose paths must be.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        folder = Path(folder).resolve()
        for number, of in enumerate(one for one in all_of_them(folder) if one.forms):
            name, row, client = str(of), [], of.start()
            for forms, cases in ((True, FORMS), (False, NO_FORMS)):
                home = folder / f"{number}-{forms}"
                try:
                    world = Cases(client, program, home, forms, of.revision)
                    for case in cases:
                        reason = case(world)
                        check(reason is None or case in MAY_LACK, f"{case.__name__}: {reason}")
                        row.append("-" if reason else "ok")
                        if reason:
                            remarks.append(f"{name}, {case.__name__}: not done; {reason}")
                    client.close()
                except Exception as error:
                    row.append("WRONG")
                    remarks.append(f"{name}: {type(error).__name__}: {error}")
                    failed = True
                    break
            print(f"{name:32}" + "".join(f"{cell:9}" for cell in row), flush=True)
            client.end()
    print("\n".join(remarks))
    sys.exit("prove.py: a case went wrong" if failed else 0)


main()
