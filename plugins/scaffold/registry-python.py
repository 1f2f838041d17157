#!/usr/bin/python3
"""registry-python: a registry plugin of tengil, in one file.

The first half is yours to change. The second half is the protocol, and stays.
On Debian it needs: apt install python3-grpcio python3-protobuf python3-cryptography
"""
import gzip
import hashlib
import io
import json
import tarfile

INFO = dict(
    name="registry-python",
    version="0.1.0",
    scheme="python",  # recipes write python://hello:1.0
    doc="one image, made in memory",
    example="hello:1.0",  # an image that is there, for tg plugins test
    env=[],  # the variables that you want: dict(name="MY_TOKEN", doc="…", required=True, secret=True)
    hosts=[],  # what you connect to, for people
)


class Registry:
    """What tg asks. Leave out Tags, Search, Source or Blob if you cannot do it.

    Raise NotFound, Unauthorized, Busy(text, seconds) or Temporary; any other exception
    is an error of your plugin. What you print is shown to who runs tg --verbose.
    """

    def __init__(self):
        self.images = {("hello:1.0", arch): image({"hello.txt": b"hello\n"}, arch) for arch in ("amd64", "arm64")}

    def Resolve(self, ref, arch):
        """Returns (digest, media type, manifest) of an image; ref is what follows python://."""
        if (ref, arch) not in self.images:
            raise NotFound(f"there is no {ref!r} for {arch}")
        return self.images[ref, arch][:3]

    def Blob(self, ref, digest, size):
        """Yields the bytes of a layer, or of the config, piece by piece."""
        for _, _, _, blobs in self.images.values():
            if digest in blobs:
                yield blobs[digest]
                return
        raise NotFound(f"there is no blob {digest}")

    def Tags(self, repository):
        tags = {ref.split(":")[1] for ref, _ in self.images if ref.split(":")[0] == repository}
        if not tags:
            raise NotFound(f"there is no {repository!r}")
        return sorted(tags)

    def Search(self, words, limit):
        """Returns [(ref, description)]."""
        return [(ref, "says hello") for ref in sorted({ref for ref, _ in self.images}) if words in ref][:limit]


def image(files, arch):
    """Makes an image of one layer out of {path: bytes}."""
    unpacked = io.BytesIO()
    with tarfile.open(fileobj=unpacked, mode="w") as tar:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    layer = gzip.compress(unpacked.getvalue(), mtime=0)
    config = json.dumps({
        "architecture": arch, "os": "linux", "config": {"Entrypoint": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(unpacked.getvalue())]},
    }).encode()
    oci = "application/vnd.oci.image."
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": oci + "manifest.v1+json",
        "config": {"mediaType": oci + "config.v1+json", "digest": digest(config), "size": len(config)},
        "layers": [{"mediaType": oci + "layer.v1.tar+gzip", "digest": digest(layer), "size": len(layer)}],
    }).encode()
    return digest(manifest), oci + "manifest.v1+json", manifest, {digest(config): config, digest(layer): layer}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


# ---------------------------------------------------------------------------
# The protocol, version 1. See registry.proto, and docs/plugins.md for the handshake.

import base64
import datetime
import inspect
import os
import sys
import tempfile
import threading
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


class Problem(Exception):
    code = grpc.StatusCode.UNKNOWN


class Unsupported(Problem):
    code = grpc.StatusCode.UNIMPLEMENTED


class NotFound(Problem):
    code = grpc.StatusCode.NOT_FOUND


class Unauthorized(Problem):
    code = grpc.StatusCode.UNAUTHENTICATED


class Temporary(Problem):
    code = grpc.StatusCode.ABORTED


class Busy(Problem):
    code = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, text, seconds=0):
        super().__init__(text)
        self.seconds = seconds


# The messages of registry.proto: fields in order, * for repeated. An enum is an
# int32 on the wire.
MESSAGES = {
    "InfoRequest": "",
    "InfoResponse": "name:s version:s scheme:s doc:s can:*i env:*EnvVar hosts:*s example:s",
    "EnvVar": "name:s doc:s required:b secret:b",
    "ResolveRequest": "ref:s arch:s",
    "ResolveResponse": "digest:s media_type:s manifest:d",
    "TagsRequest": "repository:s",
    "TagsResponse": "tags:*s",
    "SearchRequest": "words:s limit:i",
    "SearchResponse": "found:*Found",
    "Found": "ref:s doc:s",
    "SourceRequest": "ref:s digest:s",
    "SourceResponse": "reference:s username:s password:s expires:l",
    "BlobRequest": "ref:s blob:Descriptor",
    "Descriptor": "media_type:s digest:s size:l",
    "BlobChunk": "data:d",
}
SERVICE = "tengil.registry.v1"
MAX_CHUNK = 1 << 20


def messages():
    kinds = descriptor_pb2.FieldDescriptorProto
    types = {"s": kinds.TYPE_STRING, "i": kinds.TYPE_INT32, "l": kinds.TYPE_INT64, "b": kinds.TYPE_BOOL, "d": kinds.TYPE_BYTES}
    file = descriptor_pb2.FileDescriptorProto(name="registry.proto", package=SERVICE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields.split(), 1):
            label, kind = field.split(":")
            many = kind.startswith("*")
            kind = kind.lstrip("*")
            f = message.field.add(name=label, number=number, label=kinds.LABEL_REPEATED if many else kinds.LABEL_OPTIONAL)
            if kind in types:
                f.type = types[kind]
            else:
                f.type, f.type_name = kinds.TYPE_MESSAGE, f".{SERVICE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    def make(name):
        d = pool.FindMessageTypeByName(f"{SERVICE}.{name}")
        if hasattr(message_factory, "GetMessageClass"):
            return message_factory.GetMessageClass(d)
        return message_factory.MessageFactory(pool).GetPrototype(d)
    return {name: make(name) for name in MESSAGES}


M = messages()


class Service:
    def __init__(self, registry):
        self.registry = registry
        self.can = [n for n, power in enumerate(("Tags", "Search", "Source", "Blob"), 1) if hasattr(registry, power)]

    def Info(self, q):
        info = dict(INFO, env=[M["EnvVar"](**e) for e in INFO["env"]])
        return M["InfoResponse"](can=self.can, **info)

    def Resolve(self, q):
        sum, media_type, manifest = self.registry.Resolve(q.ref, q.arch)
        return M["ResolveResponse"](digest=sum, media_type=media_type, manifest=manifest)

    def Tags(self, q):
        return M["TagsResponse"](tags=self.registry.Tags(q.repository))

    def Search(self, q):
        return M["SearchResponse"](found=[M["Found"](ref=ref, doc=doc) for ref, doc in self.registry.Search(q.words, q.limit)])

    def Source(self, q):
        reference, username, password, expires = self.registry.Source(q.ref, q.digest)
        return M["SourceResponse"](reference=reference, username=username, password=password, expires=expires)

    def Blob(self, q):
        for piece in self.registry.Blob(q.ref, q.blob.digest, q.blob.size):
            for i in range(0, len(piece), MAX_CHUNK):
                yield M["BlobChunk"](data=piece[i:i + MAX_CHUNK])


def told(context, problem):
    """Ends a call with what went wrong."""
    if isinstance(problem, Busy):
        context.set_trailing_metadata((("tengil-retry-after", str(problem.seconds)),))
    code = problem.code if isinstance(problem, Problem) else grpc.StatusCode.UNKNOWN
    context.abort(code, str(problem) or type(problem).__name__)


def handler(service, name):
    method = getattr(service, name)
    if name != "Info" and not hasattr(service.registry, name):
        def method(q):
            raise Unsupported("it cannot do that")
    serial = dict(request_deserializer=M[name + "Request"].FromString, response_serializer=lambda m: m.SerializeToString())
    if inspect.isgeneratorfunction(method):
        def stream(q, context):
            try:
                yield from method(q)
            except Exception as problem:
                told(context, problem)
        return grpc.unary_stream_rpc_method_handler(stream, **serial)

    def answer(q, context):
        try:
            return method(q)
        except Exception as problem:
            told(context, problem)
    return grpc.unary_unary_rpc_method_handler(answer, **serial)


def certificate():
    """Makes a certificate for this run. Returns the key and the certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.utcnow()
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1)).not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256()))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, cert


def serve(registry):
    if os.environ.get("TENGIL_PLUGIN") != "registry":
        sys.exit(f"{sys.argv[0]} is a plugin of tengil, which tg starts itself. To install it:\n    tg plugins install {sys.argv[0]}")
    from cryptography.hazmat.primitives import serialization
    key, cert = certificate()
    der = cert.public_bytes(serialization.Encoding.DER)
    credentials = grpc.ssl_server_credentials(
        [(key, cert.public_bytes(serialization.Encoding.PEM))],
        root_certificates=os.environ["PLUGIN_CLIENT_CERT"].encode(), require_client_auth=True)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    service = Service(registry)
    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler(SERVICE + ".Registry", {n: handler(service, n) for n in ("Info", "Resolve", "Tags", "Search", "Source", "Blob")}),
        # SERVING, whatever is asked
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(lambda q, context: b"\x08\x01")}),
    ))
    socket = os.path.join(os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.mkdtemp(), "python.sock")
    server.add_secure_port("unix:" + socket, credentials)
    server.start()
    print("1|1|unix|" + socket + "|grpc|" + base64.b64encode(der).decode().rstrip("="), flush=True)

    def with_tg():  # standard input ends with tg, however that ends
        sys.stdin.buffer.read()
        os._exit(0)
    threading.Thread(target=with_tg, daemon=True).start()
    server.wait_for_termination()


if __name__ == "__main__":
    serve(Registry())
