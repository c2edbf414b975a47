"""One search shared by a chief and its workers, on this machine or on several. Explained in notebooks/04_tuning.ipynb.

The chief chooses the trials and keeps the results; each worker trains one trial after the other. They speak
KerasTuner's own protocol over gRPC, plus one call, `hello`, by which a worker joins and shows that it is alive.
KerasTuner's own chief waits for ever for a worker that died; this one gives its trial to another, and ends
with a sentence when no worker is left. What is finished stays: the same command goes on from there.

gRPC is neither encrypted nor asks who is calling: use it in a network that you trust.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import grpc

from helpers import paths
from helpers.errors import UserError
from helpers.notebook import parameters

HELLO = "hello"
HEARTBEAT = 1.0  # seconds between two signs of life

# The command line's options and their defaults: the parameters of notebook 04, so that both name the same search.
OPTIONS = {
    "DATASET": "mnist",
    "TRAIN_SIZE": 60000,
    "VALIDATION": 6000,
    "SEARCH_TRAIN_SIZE": 8000,
    "TRIALS": 8,
    "SEARCH_EPOCHS": 2,
    "BATCH_SIZE": 128,
    "SEED": 0,
    "RUN": "latest",
}


def run_search(settings: dict, host=None):
    """Loads the data and runs the search that `settings` describe, as notebook 04 does; returns the tuner."""
    from helpers.console import quiet_stderr

    with quiet_stderr():
        import keras

        from helpers import data
        from helpers.data import to_input
        from helpers.training import tuning
    keras.utils.set_random_seed(settings["SEED"])
    dataset = data.load(settings["DATASET"])
    x, y = data.subset(dataset.x_train, dataset.y_train, settings["TRAIN_SIZE"], settings["SEED"])
    train, validation = data.split(x, y, settings["VALIDATION"], settings["SEED"])
    train = data.subset(*train, settings["SEARCH_TRAIN_SIZE"], settings["SEED"])
    train, validation = (
        (to_input(x), keras.utils.to_categorical(y, dataset.num_classes)) for x, y in (train, validation)
    )
    folder = paths.outputs() / settings["RUN"] / "tuning"
    return tuning.search(
        settings["method"], train, validation, settings["TRIALS"], settings["SEARCH_EPOCHS"], folder,
        settings["SEED"], settings["BATCH_SIZE"], host=host,
    )  # fmt: skip


class Chief:
    """Serves a search to workers at `address` ("host:port") until it is finished.

    A worker that was silent for `patience` seconds is lost: its trial goes to another. `workers` are started here,
    as processes of their own. `settings` are handed to every worker that joins.
    """

    def __init__(self, address: str, settings: dict, patience: float, workers: int = 0):
        self.host, self.port = _split(address)
        self.settings, self.patience, self.workers = settings, patience, workers
        self.alive: dict[str, tuple[str, float]] = {}  # worker's name -> its token, when it was last heard of
        self.failure: str | None = None
        self.finished = False

    def run(self, tuner, *_args, **_kwargs) -> None:
        """Serves `tuner`'s oracle; returns when every trial is finished, raises UserError if that cannot be."""
        self.oracle = tuner.oracle
        if self._done() == self.oracle.max_trials:
            return
        self.settings |= {"search": tuner.project_name}
        server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
        _add_services(server, self)
        try:
            self.port = server.add_insecure_port(f"{self.host}:{self.port}")
        except RuntimeError as error:
            raise UserError(
                f"The chief cannot listen at {self.host}:{self.port}: the port is taken, or the host is elsewhere."
            ) from error
        server.start()
        children = []
        try:
            print(f"chief: {tuner.project_name} at {self.host}:{self.port}; {self.progress()}", flush=True)
            for number in range(1, self.workers + 1):
                children.append(self._start_worker(number))
                print(f"chief: worker local{number} is process {children[-1].pid}", flush=True)
            self._watch(children)
        finally:
            for child in children:
                child.terminate()
            for child in children:
                _wait_or_kill(child)
            server.stop(grace=1).wait()

    def _start_worker(self, number: int) -> subprocess.Popen:
        command = f"worker --address {self.host}:{self.port} --id local{number} --patience {self.patience}"
        # Each worker gets its share of the cores; more threads than cores slow all of them down.
        threads = str(max(1, (os.cpu_count() or 1) // self.workers))
        return subprocess.Popen(
            [sys.executable, "-m", "helpers.tuning", *command.split()],
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join([str(paths.ROOT), os.environ.get("PYTHONPATH", "")]),
                "OUTPUTS_DIR": str(paths.outputs()),
                "TF_NUM_INTRAOP_THREADS": threads,
            },
            start_new_session=True,  # Ctrl-C is for the chief, which ends its workers
        )

    def _watch(self, children: list[subprocess.Popen]) -> None:
        """Returns when the search is finished and the workers know it; raises UserError when nobody is left."""
        started = time.monotonic()
        while True:
            time.sleep(0.2)
            heard = [when for _, when in list(self.alive.values())]
            silent = time.monotonic() - max([started, *heard])
            if self.failure:
                raise UserError(self.failure)
            if self.finished and (not heard or silent > 3 * HEARTBEAT):
                return
            codes = [child.poll() for child in children]
            if self.finished:
                continue
            for number, code in enumerate(codes, 1):
                if code is not None and self.alive.pop(f"local{number}", None):  # its trial goes back at once
                    print(f"chief: worker local{number} ended with exit code {code}", flush=True)
            if children and None not in codes:
                raise UserError(
                    f"All {len(codes)} workers ended (exit codes {', '.join(map(str, codes))}) with "
                    f"{self.progress()}; the same command goes on from there."
                )
            if silent > self.patience:
                raise UserError(
                    f"No worker was heard of for {self.patience:g} seconds; {self.progress()}. "
                    "Start workers, and the same command goes on from there."
                )

    def progress(self) -> str:
        """How far the search is, in words."""
        total = f" of {self.oracle.max_trials}" if self.oracle.max_trials else ""  # Hyperband counts epochs instead
        return f"{self._done()}{total} trials finished"

    def _done(self) -> int:
        return sum(trial.status == "COMPLETED" for trial in list(self.oracle.trials.values()))

    # What follows runs in the server's one thread, so that calls never meet.

    def hello(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """Answers a worker's sign of life with the settings, or tells why it cannot join."""
        worker = json.loads(request)
        name, token = worker["name"], worker["token"]
        known, when = self.alive.get(name, (token, 0.0))
        if known != token and time.monotonic() - when < 3 * HEARTBEAT:
            refused = f"another worker is at work under the name {name}: choose another --id"
            return json.dumps({"refused": refused}).encode()
        if known != token:
            self.release(name)
        if not self.finished:
            self.alive[name] = token, time.monotonic()
        return json.dumps(self.settings).encode()

    def release_lost(self) -> None:
        """Takes back the trials of workers that are gone or silent."""
        now = time.monotonic()
        for name in list(self.oracle.ongoing_trials):
            if name not in self.alive or now - self.alive[name][1] > self.patience:
                self.release(name)

    def release(self, name: str) -> None:
        """Puts the trial of worker `name`, if it has one, back to be tried again."""
        trial = self.oracle.ongoing_trials.pop(name, None)
        if trial is not None:
            self.oracle._retry_queue.append(trial.trial_id)
            print(f"chief: worker {name} was lost; trial {int(trial.trial_id) + 1} goes to another", flush=True)


def _add_services(server: grpc.Server, chief: Chief) -> None:
    """Registers KerasTuner's calls, made safe against lost workers, and `hello`."""
    from keras_tuner.src import protos
    from keras_tuner.src.distribute.oracle_chief import OracleServicer

    def end(context, sentence):
        """Ends the search and tells the worker why."""
        chief.failure = sentence
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, sentence)

    class Servicer(OracleServicer):
        """KerasTuner's calls, with care for workers that were lost."""

        def CreateTrial(self, request, context):
            """A trial to try, first of all those that lost workers left."""
            chief.release_lost()
            try:
                response = super().CreateTrial(request, context)
            except UserError as error:  # the state cannot be saved
                end(context, str(error))
            status = protos.get_proto().TrialStatus
            if response.trial.status == status.STOPPED:
                if chief.oracle.ongoing_trials:
                    # A worker that is still at it may be lost: somebody must be there to take its trial.
                    response.trial.status = status.IDLE
                else:
                    chief.finished = True
                    chief.alive.pop(request.tuner_id, None)
            return response

        def UpdateTrial(self, request, context):
            """Takes in metrics, unless another has finished the trial meanwhile."""
            trial = chief.oracle.trials[request.trial_id]
            if trial.status == "COMPLETED":  # by another, while this worker was thought lost
                return protos.get_service().UpdateTrialResponse(trial=trial.to_proto())
            return super().UpdateTrial(request, context)

        def EndTrial(self, request, context):
            """Takes in the end of a trial, once."""
            trial = chief.oracle.trials[request.trial.trial_id]
            if trial.status != "COMPLETED":
                try:
                    super().EndTrial(request, context)
                except UserError as error:
                    end(context, str(error))
                except RuntimeError:
                    end(context, f"The search stopped, because three trials in a row failed; {chief.progress()}.")
                score = f"val_accuracy {trial.score:.4f}" if trial.score is not None else "failed"
                print(f"chief: trial {int(trial.trial_id) + 1} {score}; {chief.progress()}", flush=True)
            return protos.get_service().EndTrialResponse()

    protos.get_service_grpc().add_OracleServicer_to_server(Servicer(chief.oracle), server)
    hello = grpc.unary_unary_rpc_method_handler(chief.hello)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("helpers", {HELLO: hello})])


class Worker:
    """Joins the chief at `address` under `name` and runs trials.

    Ends the whole process if the chief is silent for `patience` seconds.
    """

    def __init__(self, address: str, name: str, patience: float):
        host, port = _split(address)
        if "chief" in name:
            raise UserError(
                f"A worker cannot be named {name}, because KerasTuner takes every name with 'chief' in it for "
                "the chief: choose another with --id."
            )
        self.address, self.name, self.patience = address, name, patience
        self.token = uuid.uuid4().hex
        # KerasTuner makes a worker of any tuner in a process with these three variables.
        os.environ |= {"KERASTUNER_ORACLE_IP": host, "KERASTUNER_ORACLE_PORT": str(port), "KERASTUNER_TUNER_ID": name}
        os.environ["no_grpc_proxy"] = host  # a web proxy has no business between the two
        self._hello = grpc.insecure_channel(address).unary_unary(f"/helpers/{HELLO}")

    def join(self) -> dict:
        """Waits for the chief and returns the settings of its search; from now on gives signs of life."""
        try:
            self.settings = self._say_hello(self.patience)
        except grpc.RpcError as error:
            raise UserError(
                f"No chief answered at {self.address} within {self.patience:g} seconds: start it first."
            ) from error
        if "refused" in self.settings:
            raise UserError(f"The chief at {self.address} refused: {self.settings['refused']}.")
        threading.Thread(target=self._stay_alive, daemon=True).start()
        return self.settings

    def run(self, tuner, *args, **kwargs) -> None:
        """Runs trials until the chief has no more."""
        if tuner.project_name != self.settings["search"]:
            raise UserError(
                f"The chief searches {self.settings['search']}, but with this worker's data and code it is "
                f"{tuner.project_name}: use the same version of the project and the same data on both."
            )
        try:
            tuner.search(*args, **kwargs)
        except grpc.RpcError as error:
            raise UserError(f"The chief at {self.address} ended the search: {error.details()}") from error

    def _say_hello(self, timeout: float) -> dict:
        request = json.dumps({"name": self.name, "token": self.token}).encode()
        return json.loads(self._hello(request, wait_for_ready=True, timeout=timeout))

    def _stay_alive(self) -> None:
        heard = time.monotonic()
        while time.monotonic() - heard < self.patience:
            time.sleep(HEARTBEAT)
            try:
                self._say_hello(timeout=5)
                heard = time.monotonic()
            except (grpc.RpcError, ValueError):  # ValueError: the channel is closing
                pass
        _complain(f"the chief at {self.address} was silent for {self.patience:g} seconds; what is finished it keeps.")
        # The main thread may be deep inside TensorFlow or gRPC, where no exception reaches it.
        os._exit(1)


def _split(address: str) -> tuple[str, int]:
    """("host", 1234) of "host:1234"."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UserError(f"{address!r} is not an address: write HOST:PORT, such as 192.168.0.10:8000.")
    return host, int(port)


def _wait_or_kill(child: subprocess.Popen) -> None:
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _complain(sentence: str) -> None:
    print(f"helpers.tuning: {sentence}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.tuning",
        description="Searches hyperparameters with several workers. The same command resumes an interrupted search.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    local = commands.add_parser("local", help="a chief and its workers on this machine")
    chief = commands.add_parser("chief", help="the chief alone, for workers on other machines")
    worker = commands.add_parser("worker", help="a worker; what it is to search, it learns from the chief")
    local.add_argument("--workers", type=int, default=2, help="processes to start (2)")
    chief.add_argument(
        "--address", required=True, metavar="HOST:PORT", help="where to listen (host 0.0.0.0: all networks)"
    )
    worker.add_argument("--address", required=True, metavar="HOST:PORT", help="where the chief listens")
    worker.add_argument("--id", default=f"{socket.gethostname()}-{os.getpid()}", help="its own name (host and process)")
    for command in (local, chief):
        command.add_argument("--method", default="random", choices=["random", "bayesian", "hyperband"], help="(random)")
        for name, value in OPTIONS.items():
            option, text = f"--{name.lower().replace('_', '-')}", f"{name} of notebook 04 ({value})"
            command.add_argument(option, dest=name, type=type(value), default=value, help=text, metavar="X")
    for command in (local, chief, worker):
        text = "seconds of silence after which the other side is lost (60)"
        command.add_argument("--patience", type=float, default=60.0, help=text, metavar="SECONDS")
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command line; returns 0 if the search is finished, 1 if it failed, 2 on wrong usage."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        host, settings = _host(args)
    except UserError as error:
        parser.error(str(error))
    # Ended from outside, the chief still ends its workers first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        tuner = run_search(settings if settings else host.join(), host)
        if settings:
            from helpers.training.tuning import trials_table

            print(trials_table(tuner).drop(columns=["val_loss", "accuracy", "loss"]).head().to_string(index=False))
            print(f"The state of the search is in {paths.display(tuner.project_dir)}.")
    except UserError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        _complain("interrupted; the same command goes on after the last finished trial.")
        return 130
    return 0


def _host(args: argparse.Namespace) -> tuple[Chief | Worker, dict | None]:
    """The chief with its settings, or the worker, which has none yet. Raises UserError for values out of range."""
    if not args.patience >= 3 * HEARTBEAT:
        raise UserError(f"--patience must be at least {3 * HEARTBEAT:g} seconds, not {args.patience:g}.")
    if args.command == "worker":
        return Worker(args.address, args.id, args.patience), None
    values = {name: getattr(args, name) for name in OPTIONS}
    settings = {"method": args.method} | parameters.check(values, "command line")
    if args.command == "chief":
        return Chief(args.address, settings, args.patience), settings
    if args.workers < 1:
        raise UserError(f"--workers must be at least 1, not {args.workers}.")
    return Chief("127.0.0.1:0", settings, args.patience, args.workers), settings
