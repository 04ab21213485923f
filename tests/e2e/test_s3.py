"""The plane's s3 subset with stock clients: AWS CLI, boto3, curl; and what must be refused."""
import base64
import datetime
import hashlib
import hmac
import http.client
import os
import subprocess
import threading
import urllib.parse
import zlib

import botocore.exceptions
import pytest

import conftest
import flsandbox
from test_iam import new_user

MIB = 1 << 20


@pytest.fixture(scope="module")
def place():
    with flsandbox.Sandbox(nodes=0) as box:
        yield box


@pytest.fixture(scope="module")
def cli(place):
    return conftest.Aws(place)


def s3_client(plane, key=None, secret=None, token=None, style="path", payload=None, endpoint=None, **more):
    import boto3
    from botocore.config import Config
    return boto3.session.Session().client(
        "s3", endpoint_url=endpoint or plane.endpoint, region_name=flsandbox.REGION, verify=str(plane.ca_file),
        aws_access_key_id=key or plane.access_key, aws_secret_access_key=secret or plane.secret_key,
        aws_session_token=token, config=Config(
            signature_version="s3v4", retries={"max_attempts": 0}, proxies={},
            s3={"addressing_style": style, "payload_signing_enabled": payload}, **more))


@pytest.fixture(scope="module")
def s3(place):
    return s3_client(place.plane)


def code_of(call, *args, **members):
    with pytest.raises(botocore.exceptions.ClientError) as e:
        call(*args, **members)
    return e.value.response["Error"]["Code"]


def blobs(place):
    return [p for p in (place.plane.data / "objects").rglob("*") if p.is_file()]


# ---- the AWS CLI ----

def test_cli_copies_lists_and_removes(place, cli, tmp_path):
    def run(*args):
        done = cli("s3", *args)
        assert done.code == 0, done
        return done.out
    (tmp_path / "in").write_bytes(b"hello\n" * 1000)
    run("mb", "s3://cli")
    run("cp", tmp_path / "in", "s3://cli/a/b/c.txt")
    run("cp", tmp_path / "in", "s3://cli/top", "--content-type", "text/x", "--metadata", "k=v w")
    assert "c.txt" in run("ls", "s3://cli/a/b/") and "PRE a/" in run("ls", "s3://cli")
    run("cp", "s3://cli/a/b/c.txt", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()
    head = cli("s3api", "head-object", "--bucket", "cli", "--key", "top").json
    assert (head["ContentType"], head["Metadata"], head["ContentLength"]) == ("text/x", {"k": "v w"}, 6000)
    url = run("presign", "s3://cli/top").strip()
    got = subprocess.run(["curl", "-sS", "--cacert", place.plane.ca_file, url], capture_output=True, check=True)
    assert got.stdout == (tmp_path / "in").read_bytes()
    done = cli("s3", "rb", "s3://cli")
    assert done.code == 1 and "BucketNotEmpty" in done.err
    run("rm", "s3://cli", "--recursive")
    run("rb", "s3://cli")
    assert "cli" not in run("ls")


def test_cli_big_file_goes_in_parts(place, cli, tmp_path):
    data = os.urandom(20 * MIB)
    (tmp_path / "in").write_bytes(data)
    assert cli("s3", "mb", "s3://big").code == 0
    done = cli("s3", "cp", tmp_path / "in", "s3://big/in")
    assert done.code == 0, done
    done = cli("s3", "cp", "s3://big/in", tmp_path / "out")
    assert done.code == 0, done
    assert (tmp_path / "out").read_bytes() == data
    assert "-3\"" in cli("s3api", "head-object", "--bucket", "big", "--key", "in").json["ETag"]


# ---- boto3 ----

@pytest.mark.parametrize("style", ["path", "virtual"])
@pytest.mark.parametrize("payload", [True, False])
def test_objects(place, s3, style, payload, tmp_path):
    # boto3 puts no bucket in front of an address
    named = place.plane.endpoint.replace("127.0.0.1", "localhost") if style == "virtual" else None
    client = s3_client(place.plane, style=style, payload=payload, endpoint=named)
    if style == "virtual":
        to_loopback(client, place.plane)
    bucket = f"obj-{style}-{str(payload).lower()}"
    client.create_bucket(Bucket=bucket)
    assert code_of(client.create_bucket, Bucket=bucket) == "BucketAlreadyOwnedByYou"
    assert client.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "local"
    assert client.get_bucket_location(Bucket=bucket)["LocationConstraint"] == "local"
    assert code_of(client.get_bucket_encryption, Bucket=bucket) == "ServerSideEncryptionConfigurationNotFoundError"
    key, data = "dir with blank/ü+&?%41//x", os.urandom(700_000)
    put = client.put_object(Bucket=bucket, Key=key, Body=data, ContentMD5=base64.b64encode(
        hashlib.md5(data).digest()).decode(), ContentType="text/plain", ACL="bucket-owner-full-control")
    assert put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    got = client.get_object(Bucket=bucket, Key=key)
    assert got["Body"].read() == data and got["ContentType"] == "text/plain"
    for asked, status, part in (("bytes=0-9", 206, data[:10]), ("bytes=699990-", 206, data[-10:]),
                                ("bytes=-7", 206, data[-7:]), ("lines=1-2", 200, data)):
        got = client.get_object(Bucket=bucket, Key=key, Range=asked)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == status and got["Body"].read() == part
    assert code_of(client.get_object, Bucket=bucket, Key=key, Range="bytes=700000-") == "InvalidRange"
    assert code_of(client.get_object, Bucket=bucket, Key=key, IfNoneMatch=put["ETag"]) == "304"
    assert code_of(client.get_object, Bucket=bucket, Key=key, IfMatch='"x"') == "PreconditionFailed"
    client.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert client.get_object(Bucket=bucket, Key="empty")["Body"].read() == b""
    assert code_of(client.get_object, Bucket=bucket, Key="none") == "NoSuchKey"
    assert code_of(client.head_object, Bucket=bucket, Key="none") == "404"
    assert code_of(client.put_object, Bucket="no-such", Key="k", Body=b"x") == "NoSuchBucket"
    done = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}, {"Key": "none"}]})
    assert {d["Key"] for d in done["Deleted"]} == {key, "none"}
    client.delete_object(Bucket=bucket, Key="empty")
    client.delete_bucket(Bucket=bucket)
    assert code_of(client.head_bucket, Bucket=bucket) == "404"


def to_loopback(client, plane):
    """<bucket>.localhost is no name that resolves everywhere, nor one the certificate has: connects to the plane."""
    import urllib3
    from botocore.awsrequest import AWSResponse
    from botocore.httpsession import URLLib3Session
    pool = urllib3.HTTPSConnectionPool("127.0.0.1", int(plane.endpoint.rsplit(":", 1)[1]), ca_certs=str(plane.ca_file))

    class Session(URLLib3Session):
        def send(self, request):
            url = urllib.parse.urlsplit(request.url)
            target = url.path + ("?" + url.query if url.query else "")
            headers = {k: v for k, v in request.headers.items() if k.lower() != "host"}
            assert url.netloc.startswith(("obj-virtual-", "no-such.")) or url.query == "location"  # always in path style
            answer = pool.urlopen(request.method, target, body=request.body, retries=False, redirect=False,
                                  headers={**headers, "Host": url.netloc}, preload_content=False, decode_content=False,
                                  assert_same_host=False)
            made = AWSResponse(request.url, answer.status, answer.headers, answer)
            if not request.stream_output:
                made.content
            return made
    client._endpoint.http_session = Session()


def test_lists(s3):
    s3.create_bucket(Bucket="lists")
    keys = sorted([f"a/{i:02d}" for i in range(12)] + ["a", "b/x/1", "b/x/2", "b/y", "c", "ü/1", "z&<>"],
                  key=lambda k: k.encode())
    for key in keys:
        s3.put_object(Bucket="lists", Key=key, Body=key.encode())

    def walk(operation, size, **members):
        found, prefixes, pages = [], [], 0
        for page in s3.get_paginator(operation).paginate(Bucket="lists", PaginationConfig={"PageSize": size},
                                                         **members):
            pages += 1
            found += [o["Key"] for o in page.get("Contents", [])]
            prefixes += [p["Prefix"] for p in page.get("CommonPrefixes", [])]
            assert len(page.get("Contents", [])) + len(page.get("CommonPrefixes", [])) <= size
        return found, prefixes, pages
    for operation in ("list_objects", "list_objects_v2"):
        for size in (1, 3, 1000):
            assert walk(operation, size)[0] == keys, (operation, size)
            assert walk(operation, size, Delimiter="/")[:2] == (["a", "c", "z&<>"], ["a/", "b/", "ü/"]), (operation, size)
            assert walk(operation, size, Prefix="b/", Delimiter="/")[:2] == (["b/y"], ["b/x/"])
        assert walk(operation, 5, Prefix="a/") == ([k for k in keys if k.startswith("a/")], [], 3)
        assert walk(operation, 5, Prefix="none") == ([], [], 1)
    assert s3.list_objects_v2(Bucket="lists", StartAfter="b/y")["Contents"][0]["Key"] == "c"
    assert code_of(s3.list_objects_v2, Bucket="lists", ContinuationToken="x") == "InvalidArgument"


def test_multipart(place, s3):
    s3.create_bucket(Bucket="multi")
    one, two = os.urandom(5 * MIB), os.urandom(1000)
    up = s3.create_multipart_upload(Bucket="multi", Key="k", ContentType="x/y")["UploadId"]

    def part(number, data):
        return {"PartNumber": number, "ETag": s3.upload_part(Bucket="multi", Key="k", UploadId=up, PartNumber=number,
                                                             Body=data)["ETag"]}
    part(3, b"never named")
    part(1, b"replaced")
    parts = [part(1, one), part(2, two)]
    assert [p["Size"] for p in s3.list_parts(Bucket="multi", Key="k", UploadId=up)["Parts"]] == [5 * MIB, 1000, 11]

    def complete(parts):
        return s3.complete_multipart_upload(Bucket="multi", Key="k", UploadId=up, MultipartUpload={"Parts": parts})
    assert code_of(complete, parts[::-1]) == "InvalidPartOrder"
    assert code_of(complete, [dict(parts[0], ETag='"00000000000000000000000000000000"')]) == "InvalidPart"
    assert code_of(s3.get_object, Bucket="multi", Key="k") == "NoSuchKey"
    etag = complete(parts)["ETag"]
    assert etag == '"%s-2"' % hashlib.md5(hashlib.md5(one).digest() + hashlib.md5(two).digest()).hexdigest()
    got = s3.get_object(Bucket="multi", Key="k")
    assert got["Body"].read() == one + two and got["ContentType"] == "x/y"
    got = s3.get_object(Bucket="multi", Key="k", Range=f"bytes={5 * MIB - 5}-{5 * MIB + 4}")
    assert got["Body"].read() == one[-5:] + two[:5]
    up = s3.create_multipart_upload(Bucket="multi", Key="k2")["UploadId"]
    s3.upload_part(Bucket="multi", Key="k2", UploadId=up, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(Bucket="multi", Key="k2", UploadId=up)
    assert code_of(s3.abort_multipart_upload, Bucket="multi", Key="k2", UploadId=up) == "NoSuchUpload"
    s3.delete_object(Bucket="multi", Key="k")
    s3.delete_bucket(Bucket="multi")


def test_parts_and_uploads_are_listed(place, s3):
    s3.create_bucket(Bucket="listed")

    def create(key):
        return s3.create_multipart_upload(Bucket="listed", Key=key)["UploadId"]
    up = create("a/1")
    tags = [s3.upload_part(Bucket="listed", Key="a/1", UploadId=up, PartNumber=n, Body=body)["ETag"]
            for n, body in ((2, b"x" * 5 * MIB), (5, b"yy"), (7, b"z"))]
    pages = list(s3.get_paginator("list_parts").paginate(Bucket="listed", Key="a/1", UploadId=up,
                                                         PaginationConfig={"PageSize": 2}))
    assert [[p["PartNumber"] for p in page["Parts"]] for page in pages] == [[2, 5], [7]]
    assert [p["MaxParts"] for p in pages] == [2, 2]
    made = [("a/1", up)] + [(k, create(k)) for k in ("a/1", "a/2 & <ü>", "b")]
    made.sort()

    def found(**more):
        return [(u["Key"], u["UploadId"]) for page in s3.get_paginator("list_multipart_uploads").paginate(
            Bucket="listed", **more) for u in page.get("Uploads", [])]
    assert found() == found(PaginationConfig={"PageSize": 1}) == made
    assert found(Prefix="a/") == found(Prefix="a/", PaginationConfig={"PageSize": 2}) == made[:3]
    assert [u["Key"] for u in s3.list_multipart_uploads(Bucket="listed", KeyMarker="a/1")["Uploads"]] == [made[2][0], "b"]
    assert code_of(s3.list_multipart_uploads, Bucket="no-such") == "NoSuchBucket"
    s3.complete_multipart_upload(Bucket="listed", Key="a/1", UploadId=up, MultipartUpload={
        "Parts": [{"PartNumber": 2, "ETag": tags[0]}, {"PartNumber": 5, "ETag": tags[1]}]})
    got = s3.get_object(Bucket="listed", Key="a/1", PartNumber=5)
    assert (got["Body"].read(), got["PartsCount"], got["ContentRange"]) == (b"yy", 2, f"bytes {5 * MIB}-{5 * MIB + 1}/{5 * MIB + 2}")
    assert s3.head_object(Bucket="listed", Key="a/1", PartNumber=2)["ContentLength"] == 5 * MIB
    assert code_of(s3.get_object, Bucket="listed", Key="a/1", PartNumber=7) == "InvalidPartNumber"
    s3.put_object(Bucket="listed", Key="one", Body=b"whole")
    assert s3.get_object(Bucket="listed", Key="one", PartNumber=1)["Body"].read() == b"whole"


def test_nothing_is_taken_for_something_else(s3):
    """What the plane does not do is refused; it is not another operation, nor left out in silence."""
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    assert code_of(s3.put_bucket_encryption, Bucket="unmade", ServerSideEncryptionConfiguration=rules) == "NotImplemented"
    assert code_of(s3.head_bucket, Bucket="unmade") == "404"
    s3.create_bucket(Bucket="made")
    assert code_of(s3.delete_bucket_encryption, Bucket="made") == "NotImplemented"
    s3.head_bucket(Bucket="made")
    for more in ({"Tagging": "a=b"}, {"ServerSideEncryption": "AES256"}, {"ACL": "public-read"}, {"GrantRead": "id=x"},
                 {"StorageClass": "GLACIER"}, {"WebsiteRedirectLocation": "/x"}, {"ObjectLockMode": "GOVERNANCE"},
                 {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "0" * 32}):
        assert code_of(s3.put_object, Bucket="made", Key="k", Body=b"x", **more) == "NotImplemented", more
    for more in ({"ACL": "private"}, {"ACL": "bucket-owner-full-control"}, {"StorageClass": "STANDARD"}):
        s3.put_object(Bucket="made", Key="k", Body=b"x", **more)
    assert code_of(s3.delete_objects, Bucket="made", Delete={"Objects": []}) == "MalformedXML"
    upload = {"Bucket": "made", "Key": "parts", "UploadId": s3.create_multipart_upload(Bucket="made", Key="parts")["UploadId"]}
    parts = {"Parts": [{"PartNumber": 1, "ETag": s3.upload_part(PartNumber=1, Body=b"x", **upload)["ETag"]}]}
    assert code_of(s3.complete_multipart_upload, MultipartUpload=parts, ChecksumCRC32="AAAAAA==", **upload) == "NotImplemented"
    s3.complete_multipart_upload(MultipartUpload=parts, **upload)


def test_small_parts_and_parts_left_out(place, s3):
    """All parts but the last have 5 MiB; what is completed without takes no room."""
    s3.create_bucket(Bucket="parts")
    up = s3.create_multipart_upload(Bucket="parts", Key="k")["UploadId"]
    tags = [s3.upload_part(Bucket="parts", Key="k", UploadId=up, PartNumber=n, Body=b"x" * n)["ETag"]
            for n in range(1, 6)]
    before = len(blobs(place))

    def complete(*numbers):
        return s3.complete_multipart_upload(Bucket="parts", Key="k", UploadId=up, MultipartUpload={
            "Parts": [{"PartNumber": n, "ETag": tags[n - 1]} for n in numbers]})
    assert code_of(complete, 1, 2) == "EntityTooSmall"
    assert len(blobs(place)) == before
    complete(3)
    assert s3.get_object(Bucket="parts", Key="k")["Body"].read() == b"xxx"
    flsandbox.wait_for("the others to go", lambda: len(blobs(place)) == before - 4)


# ---- many at once ----

def marked(n, size=600_000):
    """A body that shows at every place which one it is."""
    return (b"%07d\n" % n) * (size // 8)


@pytest.mark.parametrize("parts", [1, 6], ids=["one-file", "parts"])
def test_a_reader_keeps_what_it_began(place, s3, parts):
    """Whatever becomes of the object; and when the last one has read, its files go."""
    bucket = f"begun-{parts}"
    s3.create_bucket(Bucket=bucket)
    whole = os.urandom(30 * MIB)

    def put_parts(data):
        up = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        tags = [s3.upload_part(Bucket=bucket, Key="k", UploadId=up, PartNumber=i + 1, Body=data[at:at + 5 * MIB])["ETag"]
                for i, at in enumerate(range(0, len(data), 5 * MIB))]
        s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=up, MultipartUpload={
            "Parts": [{"PartNumber": i + 1, "ETag": tag} for i, tag in enumerate(tags)]})
    put = put_parts if parts > 1 else lambda data: s3.put_object(Bucket=bucket, Key="k", Body=data)
    changes = {
        "overwritten": lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"other"),
        "overwritten in parts": lambda: put_parts(b"other" * 1000),
        "deleted": lambda: s3.delete_object(Bucket=bucket, Key="k"),
        "deleted with others": lambda: s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]}),
    }
    before = len(blobs(place))
    for how, change in changes.items():
        put(whole)
        begun = [s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-")["Body"] for first in (0, 6 * MIB)]
        left = s3.get_object(Bucket=bucket, Key="k")["Body"]
        heads = [b.read(1) for b in begun]
        change()
        assert heads[0] + begun[0].read() == whole, how
        assert heads[1] + begun[1].read() == whole[6 * MIB:], how
        left.close()  # in the middle
        s3.delete_object(Bucket=bucket, Key="k")
        flsandbox.wait_for("the files to go", lambda: len(blobs(place)) == before)
    s3.delete_bucket(Bucket=bucket)


def test_reading_while_it_is_overwritten(place, s3):
    """Whoever reads sees one of the objects that stood there, whole, and what its answer's head says of it."""
    s3.create_bucket(Bucket="race")
    s3.put_object(Bucket="race", Key="k", Body=marked(0))
    stop, seen, trouble = threading.Event(), set(), []

    def reader(ranged):
        client = s3_client(place.plane)
        try:
            while not stop.is_set():
                first = 8 * (len(seen) * 997 % 60_000) + 3
                got = client.get_object(Bucket="race", Key="k", **({"Range": f"bytes={first}-{first + 99_999}"} if ranged else {}))
                body = got["Body"].read()
                n = int(body[5:12] if ranged else body[:7])
                want = marked(n)[first:first + 100_000] if ranged else marked(n)
                assert body == want, (n, first, len(body))
                assert got["ETag"].strip('"') == hashlib.md5(marked(n)).hexdigest()
                seen.add((ranged, n))
        except Exception as e:  # told by the thread that tests
            trouble.append(e)
            stop.set()
    threads = [threading.Thread(target=reader, args=(i % 2 == 0,)) for i in range(4)]
    for t in threads:
        t.start()
    n = 0
    try:
        while len(seen) < 40 and not stop.is_set():
            n += 1
            s3.put_object(Bucket="race", Key="k", Body=marked(n))
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not trouble, trouble
    s3.delete_object(Bucket="race", Key="k")


def test_many_put_the_same_key(place, s3):
    """One of them stands, whole, and the files of the others are gone; of those that ask for nothing to be there, one
    is let."""
    s3.create_bucket(Bucket="same")
    before, codes = len(blobs(place)), []
    barrier = threading.Barrier(6)

    def put(n, key, headers):
        client = s3_client(place.plane)
        client.meta.events.register("before-call.s3.PutObject", lambda params, **_: params["headers"].update(headers))
        barrier.wait()
        try:
            client.put_object(Bucket="same", Key=key, Body=marked(n))
            codes.append(n)
        except botocore.exceptions.ClientError as e:
            codes.append(e.response["Error"]["Code"])

    def all_at_once(key, **headers):
        codes.clear()
        threads = [threading.Thread(target=put, args=(n, key, headers)) for n in range(1, 7)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    all_at_once("k")
    assert sorted(codes) == list(range(1, 7))
    body = s3.get_object(Bucket="same", Key="k")["Body"].read()
    assert body == marked(int(body[:7]))
    flsandbox.wait_for("one file", lambda: len(blobs(place)) == before + 1)
    all_at_once("once", **{"If-None-Match": "*"})
    let = [c for c in codes if isinstance(c, int)]
    assert len(let) == 1 and codes.count("PreconditionFailed") == 5, codes
    assert s3.get_object(Bucket="same", Key="once")["Body"].read() == marked(let[0])
    flsandbox.wait_for("two files", lambda: len(blobs(place)) == before + 2)


def test_the_bucket_in_front_of_an_address(place, s3):
    """As the official agent's SDK sends it: <bucket>.127.0.0.1."""
    s3.create_bucket(Bucket="in-front")
    h = sign(place.plane, "PUT", "/a/k", {}, hashlib.sha256(b"x").hexdigest(), bucket="in-front")[0]
    assert send(place.plane, "PUT", "/a/k", h, b"x")[0] == 200
    assert s3.get_object(Bucket="in-front", Key="a/k")["Body"].read() == b"x"


# ---- bodies as newer clients send them, by hand ----

def sign(plane, method, path, headers, payload, bucket=None):
    """Headers of a signed request, its date, scope, signing key and signature."""
    now = datetime.datetime.utcnow().strftime("%Y%m%dT%H%M%SZ")
    host = (bucket + "." if bucket else "") + urllib.parse.urlsplit(plane.endpoint).netloc
    h = {**headers, "host": host, "x-amz-date": now, "x-amz-content-sha256": payload}
    names = sorted(h)
    scope = f"{now[:8]}/{flsandbox.REGION}/s3/aws4_request"
    canonical = "\n".join([method, path, "", *[f"{n}:{h[n]}" for n in names], "", ";".join(names), payload])
    key = ("AWS4" + plane.secret_key).encode()
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    h["authorization"] = (f"AWS4-HMAC-SHA256 Credential={plane.access_key}/{scope}, SignedHeaders={';'.join(names)}, "
                          f"Signature={signature}")
    return h, now, scope, key, signature


def send(plane, method, path, headers, body, length=None):
    url = urllib.parse.urlsplit(plane.endpoint)
    import ssl
    conn = http.client.HTTPSConnection(url.hostname, url.port, timeout=30,
                                       context=ssl.create_default_context(cafile=str(plane.ca_file)))
    try:
        conn.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            conn.putheader(name, value)
        conn.putheader("content-length", str(len(body) if length is None else length))
        conn.endheaders(body)
        answer = conn.getresponse()
        return answer.status, answer.read().decode()
    finally:
        conn.close()


def pieces(data, size):
    return [data[i:i + size] for i in range(0, len(data), size)] + [b""]


CRC = base64.b64encode(zlib.crc32(b"x" * 200_000).to_bytes(4, "big")).decode()


@pytest.mark.parametrize("bend", ["", "crc", "length", "short"])
def test_unsigned_trailer(place, s3, bend):
    bucket = "trailer" + bend
    s3.create_bucket(Bucket=bucket)
    data, crc = b"x" * 200_000, CRC if bend != "crc" else "AAAAAA=="
    headers = {"content-encoding": "aws-chunked", "x-amz-trailer": "x-amz-checksum-crc32",
               "x-amz-decoded-content-length": str(len(data) + (bend == "length"))}
    body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces(data, 65536)[:-1])
    body += b"" if bend == "short" else b"0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % crc.encode()
    h = sign(place.plane, "PUT", f"/{bucket}/k", headers, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")[0]
    status, text = send(place.plane, "PUT", f"/{bucket}/k", h, body)
    if bend:
        assert status == 400 and ("BadDigest" if bend == "crc" else "IncompleteBody") in text
        assert code_of(s3.get_object, Bucket=bucket, Key="k") == "NoSuchKey"
    else:
        assert status == 200, text
        got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert got["Body"].read() == data and got["ChecksumCRC32"] == CRC and "ContentEncoding" not in got


@pytest.mark.parametrize("trailer", [False, True])
@pytest.mark.parametrize("bend", ["", "chunk", "trailer"])
def test_signed_chunks(place, s3, bend, trailer):
    bucket = f"chunks-{bend or 'ok'}-{str(trailer).lower()}"
    s3.create_bucket(Bucket=bucket)
    data = b"x" * 200_000
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
    headers = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(data))}
    if trailer:
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    h, now, scope, key, last = sign(place.plane, "PUT", f"/{bucket}/k", headers, kind)

    def chain(what, *rest):
        text = "\n".join([f"AWS4-HMAC-SHA256-{what}", now, scope, last, *rest])
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    body = b""
    for p in pieces(data, 65536):
        last = chain("PAYLOAD", hashlib.sha256(b"").hexdigest(), hashlib.sha256(p).hexdigest())
        sent = p if bend != "chunk" else p.replace(b"xx", b"xy", 1)
        body += b"%x;chunk-signature=%s\r\n" % (len(p), last.encode()) + (sent + b"\r\n" if p else b"")
    if trailer:
        line = f"x-amz-checksum-crc32:{CRC}\n"
        last = chain("TRAILER", hashlib.sha256(line.encode()).hexdigest())
        sent = last if bend != "trailer" else last[::-1]
        body += line.replace("\n", "\r\n").encode() + b"x-amz-trailer-signature:" + sent.encode() + b"\r\n"
    status, text = send(place.plane, "PUT", f"/{bucket}/k", h, body + b"\r\n")
    if bend == "chunk" or (bend == "trailer" and trailer):
        assert status == 403 and "SignatureDoesNotMatch" in text
        assert code_of(s3.get_object, Bucket=bucket, Key="k") == "NoSuchKey"
    else:
        assert status == 200, text
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data


@pytest.mark.parametrize("what,code", [("sha256", "XAmzContentSHA256Mismatch"), ("md5", "BadDigest"),
                                       ("crc32c", "BadDigest"), ("unsigned meta", "AccessDenied")])
def test_what_does_not_fit_is_not_stored(place, s3, what, code):
    bucket = "wrong-" + what.replace(" ", "-")
    s3.create_bucket(Bucket=bucket)
    data = b"y" * 100
    headers = {"md5": {"content-md5": base64.b64encode(b"0" * 16).decode()},
               "crc32c": {"x-amz-checksum-crc32c": "AAAAAA=="}}.get(what, {})
    payload = hashlib.sha256(b"other" if what == "sha256" else data).hexdigest()
    h = sign(place.plane, "PUT", f"/{bucket}/k", headers, payload)[0]
    if what == "unsigned meta":
        h["x-amz-meta-a"] = "b"
    status, text = send(place.plane, "PUT", f"/{bucket}/k", h, data)
    assert status in (400, 403) and f"<Code>{code}</Code>" in text
    assert code_of(s3.get_object, Bucket=bucket, Key="k") == "NoSuchKey"


def test_presigned_put_and_expiry(place, s3, tmp_path):
    s3.create_bucket(Bucket="presigned")
    (tmp_path / "in").write_bytes(os.urandom(300_000))

    def curl(*args):
        done = subprocess.run(["curl", "-sS", "--cacert", place.plane.ca_file, "-w", "%{http_code}", *args],
                              capture_output=True, check=True)
        return done.stdout.decode(errors="replace")
    put = s3.generate_presigned_url("put_object", Params={"Bucket": "presigned", "Key": "k x"})
    assert curl("-T", str(tmp_path / "in"), put) == "200"
    assert s3.get_object(Bucket="presigned", Key="k x")["Body"].read() == (tmp_path / "in").read_bytes()
    assert "SignatureDoesNotMatch" in curl(put.replace("k%20x", "other"), "-T", str(tmp_path / "in"))
    assert "SignatureDoesNotMatch" in curl(put)
    get = s3.generate_presigned_url("get_object", Params={"Bucket": "presigned", "Key": "k x"}, ExpiresIn=1)
    flsandbox.wait_for("the URL to expire", lambda: "Request has expired" in curl(get))
    assert "AccessDenied" in curl(place.plane.endpoint + "/presigned/k%20x")


# ---- who may ----

def test_policies(place, s3):
    s3.create_bucket(Bucket="guarded")
    for key in ("mine/a", "other/b"):
        s3.put_object(Bucket="guarded", Key=key, Body=b"x")
    ann = s3_client(place.plane, *new_user(place.plane, "s3ann", {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
         "Resource": "arn:aws:s3:::guarded/mine/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::guarded"}]}))
    assert ann.get_object(Bucket="guarded", Key="mine/a")["Body"].read() == b"x"
    ann.put_object(Bucket="guarded", Key="mine/c", Body=b"x")
    assert ann.list_objects_v2(Bucket="guarded")["KeyCount"] == 3
    for call, members in ((ann.get_object, {"Key": "other/b"}), (ann.put_object, {"Key": "other/b", "Body": b"y"}),
                          (ann.delete_object, {"Key": "other/b"}), (ann.delete_bucket, {})):
        assert code_of(call, Bucket="guarded", **members) == "AccessDenied"
    assert code_of(ann.list_buckets) == "AccessDenied"
    done = ann.delete_objects(Bucket="guarded", Delete={"Objects": [{"Key": "mine/c"}, {"Key": "other/b"}]})
    assert [d["Key"] for d in done["Deleted"]] == ["mine/c"] and [e["Key"] for e in done["Errors"]] == ["other/b"]
    assert s3.get_object(Bucket="guarded", Key="other/b")["Body"].read() == b"x"
    bad = s3_client(place.plane, secret="x" * 40)
    assert code_of(bad.list_buckets) == "SignatureDoesNotMatch"


# ---- limits, and the disk ----

def test_quota_and_size(new_box, tmp_path):
    box = new_box(nodes=0, conf={"ObjectsMaxBytes": 1_000_000, "ObjectMaxBytes": 400_000, "ObjectsMaxFiles": 5})
    s3 = s3_client(box.plane)
    s3.create_bucket(Bucket="small")
    assert code_of(s3.put_object, Bucket="small", Key="big", Body=b"x" * 500_000) == "EntityTooLarge"
    h = sign(box.plane, "PUT", "/small/big", {}, "UNSIGNED-PAYLOAD")[0]
    assert "EntityTooLarge" in send(box.plane, "PUT", "/small/big", h, b"", length=500_000)[1]  # before any of it comes
    for i in range(2):
        s3.put_object(Bucket="small", Key=str(i), Body=b"x" * 400_000)
    assert code_of(s3.put_object, Bucket="small", Key="2", Body=b"x" * 300_000) == "InsufficientStorage"
    s3.delete_object(Bucket="small", Key="0")
    flsandbox.wait_for("room", lambda: len(blobs(box)) == 1)
    for i in range(2, 6):
        s3.put_object(Bucket="small", Key=str(i), Body=b"x")
    assert code_of(s3.put_object, Bucket="small", Key="6", Body=b"x") == "InsufficientStorage"
    box.plane.stop()
    box.plane.start()
    assert code_of(s3.put_object, Bucket="small", Key="6", Body=b"x") == "InsufficientStorage"


def test_killed_during_uploads(new_box):
    """What was acknowledged is there, whole; what was not is there whole or not at all; no file is left over."""
    box = new_box(nodes=0)
    s3_client(box.plane).create_bucket(Bucket="kill")
    stored, tried = {}, {}
    for turn in range(3):
        stop = threading.Event()

        def writer(who, turn=turn, stop=stop):
            client, n = s3_client(box.plane), 0
            while not stop.is_set():
                key, data = f"{turn}-{who}-{n}", os.urandom(1 << (10 + n % 12))
                tried[key] = data
                try:
                    client.put_object(Bucket="kill", Key=key, Body=data)
                except Exception:  # whatever a dead plane looks like
                    return
                stored[key] = data
                n += 1
        threads = [threading.Thread(target=writer, args=(w,)) for w in range(4)]
        for t in threads:
            t.start()
        before = len(stored)
        flsandbox.wait_for("uploads", lambda: len(stored) >= before + 30)
        box.plane.kill()
        stop.set()
        for t in threads:
            t.join()
        box.plane.start()
    s3 = s3_client(box.plane)
    found = [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="kill")
             for o in page.get("Contents", [])]
    assert set(stored) <= set(found) <= set(tried)
    for key in found:
        assert s3.get_object(Bucket="kill", Key=key)["Body"].read() == tried[key], key
    flsandbox.wait_for("leftovers to go", lambda: len(blobs(box)) == len(found), timeout_s=20)
