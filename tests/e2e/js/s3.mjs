// Objects with the stock JavaScript client, whose uploads carry a checksum behind their body by default. Prints one
// JSON object for test_js.py to check.
import { Readable } from "node:stream";
import {
  S3Client, CreateBucketCommand, PutObjectCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command,
  DeleteObjectsCommand, CopyObjectCommand, GetObjectTaggingCommand, GetObjectAttributesCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";

const s3 = new S3Client({
  endpoint: process.env.FAIRLEAD_ENDPOINT, region: process.env.AWS_DEFAULT_REGION, forcePathStyle: true, maxAttempts: 1,
});
const Bucket = "js-" + process.pid;
const call = (Command, input) => s3.send(new Command({ Bucket, ...input }));
const sums = (answer) => Object.entries(answer).filter(([k, v]) => /^Checksum[CS]/.test(k) && v).map(([k]) => k);
const bytes = Buffer.alloc(300_000, "abcdefg");
const got = { sums: {}, streamed: {}, parts: {}, same: [], errors: {} };

async function isSame(Key, wanted) {
  const answer = await call(GetObjectCommand, { Key, ChecksumMode: "ENABLED" }); // compared by the client, too
  got.same.push(Buffer.compare(Buffer.from(await answer.Body.transformToByteArray()), wanted) === 0);
}

await call(CreateBucketCommand, {});
for (const ChecksumAlgorithm of [undefined, "CRC32", "CRC32C", "SHA1", "SHA256"]) {
  const name = ChecksumAlgorithm ?? "default";
  got.sums[name] = sums(await call(PutObjectCommand, { Key: name, Body: bytes, ChecksumAlgorithm }));
  await isSame(name, bytes);
  got.streamed[name] = sums(await call(PutObjectCommand, {
    Key: "s/" + name, Body: Readable.from([bytes, bytes]), ContentLength: 2 * bytes.length, ChecksumAlgorithm,
  }));
  await isSame("s/" + name, Buffer.concat([bytes, bytes]));
  const pieces = Array(20).fill(bytes);
  const answer = await new Upload({
    client: s3, params: { Bucket, Key: "m/" + name, Body: Readable.from(pieces), ChecksumAlgorithm }, partSize: 5 << 20,
  }).done();
  got.parts[name] = answer.ETag.split("-")[1];
  await isSame("m/" + name, Buffer.concat(pieces));
}
got.head = sums(await call(HeadObjectCommand, { Key: "CRC32C", ChecksumMode: "ENABLED" }));
const Objects = (await call(ListObjectsV2Command, {})).Contents.map(({ Key }) => ({ Key }));
got.listed = Objects.length;
for (const [name, Command, input] of [
  ["none", GetObjectCommand, { Key: "none" }], ["copy", CopyObjectCommand, { Key: "copy", CopySource: Bucket + "/CRC32" }],
  ["tagging", GetObjectTaggingCommand, { Key: "CRC32" }],
  ["attributes", GetObjectAttributesCommand, { Key: "CRC32", ObjectAttributes: ["ETag"] }],
])
  await call(Command, input).then(() => { got.errors[name] = ""; }, (e) => { got.errors[name] = e.name; });
got.deleted = (await call(DeleteObjectsCommand, { Delete: { Objects } })).Deleted.length;
console.log(JSON.stringify(got));
