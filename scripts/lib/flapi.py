"""A signed call to a fairlead plane with nothing but Python's standard library.

Used by the sandbox and the quickstart, which must work before any SDK is installed. SigV4 as the
AWS CLI does it: headers content-type;host;x-amz-date;x-amz-target.
"""
import configparser
import datetime
import hashlib
import hmac
import http.client
import json
import ssl
import urllib.parse


class ApiError(Exception):
    """What the plane refused: `code` is the error name, `status` the HTTP status."""

    def __init__(self, status, code, message):
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message = status, code, message


def read_credentials(path, profile="default"):
    """(access key id, secret) from a file in the AWS credentials format."""
    ini = configparser.ConfigParser(interpolation=None)
    with open(path) as f:
        ini.read_file(f)
    section = ini[profile]
    return section["aws_access_key_id"], section["aws_secret_access_key"]


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Api:
    """One endpoint, one key. Every call opens its own connection."""

    def __init__(self, endpoint, ca_file, access_key, secret_key, region="local"):
        url = urllib.parse.urlsplit(endpoint)
        self.host, self.port, self.netloc = url.hostname, url.port or 443, url.netloc
        self.tls = ssl.create_default_context(cafile=ca_file)
        self.access_key, self.secret_key, self.region = access_key, secret_key, region

    def sign(self, headers, body, service, now=None):
        now = now or datetime.datetime.utcnow()
        headers["x-amz-date"] = now.strftime("%Y%m%dT%H%M%SZ")
        names = sorted(headers)
        canonical = "POST\n/\n\n" + "".join(f"{n}:{headers[n]}\n" for n in names) + \
            "\n" + ";".join(names) + "\n" + hashlib.sha256(body).hexdigest()
        scope = f"{now:%Y%m%d}/{self.region}/{service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n" + \
            hashlib.sha256(canonical.encode()).hexdigest()
        key = ("AWS4" + self.secret_key).encode()
        for part in scope.split("/"):
            key = _hmac(key, part)
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}")

    def raw(self, body, headers, timeout_s=30):
        """POST as it stands; returns (status, headers, body bytes)."""
        conn = http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=timeout_s)
        try:
            conn.request("POST", "/", body=body, headers=headers)
            answer = conn.getresponse()
            return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read()
        finally:
            conn.close()

    def call(self, operation, timeout_s=30, **members):
        """An operation of `ssm`: its members as keywords, the decoded answer back."""
        body, headers = self.request(operation, members)
        status, _, text = self.raw(body, headers, timeout_s)
        return self.answer(status, text)

    def request(self, operation, members):
        body = json.dumps(members).encode()
        headers = {"content-type": "application/x-amz-json-1.1", "host": self.netloc,
                   "x-amz-target": "AmazonSSM." + operation}
        self.sign(headers, body, "ssm")
        return body, headers

    @staticmethod
    def answer(status, text):
        try:
            answer = json.loads(text)
        except ValueError:
            raise ApiError(status, str(status), text[:200].decode(errors="replace")) from None
        if status != 200:
            raise ApiError(status, answer.get("__type", str(status)),
                           answer.get("message") or answer.get("Message") or "")
        return answer

    def get(self, path, timeout_s=10):
        """An unsigned GET (health, metrics); (status, text)."""
        conn = http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=timeout_s)
        try:
            conn.request("GET", path)
            answer = conn.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            conn.close()


class KeptApi(Api):
    """The same calls over one connection that is kept. For one thread at a time."""

    def __init__(self, api, timeout_s=30):
        super().__init__(f"https://{api.netloc}", None, api.access_key, api.secret_key, api.region)
        self.conn = http.client.HTTPSConnection(api.host, api.port, context=api.tls, timeout=timeout_s)

    def raw(self, body, headers, timeout_s=30):
        self.conn.request("POST", "/", body=body, headers=headers)
        answer = self.conn.getresponse()
        return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read()

    def close(self):
        self.conn.close()
