// basic-ftp does what its arguments say: port, "explicit" or "implicit" or "clear", a folder. Told as JSON.
import { Client } from "basic-ftp";
import { Writable } from "node:stream";

const [port, way, folder] = process.argv.slice(2);
const told = {};
const client = new Client(30_000);
try {
    const secure = { explicit: true, implicit: "implicit", clear: false }[way];
    await client.access({
        host: "127.0.0.1", port: Number(port), user: "alice", password: "wonderland", secure,
        secureOptions: { rejectUnauthorized: false },
    });
    told.features = [...(await client.features()).keys()].sort();
    await client.uploadFromDir(`${folder}/source`, `up-${way}`);
    await client.downloadToDir(`${folder}/${way}`, `up-${way}`);
    await client.cd(`/up-${way}`);
    told.list = (await client.list()).map((each) => [each.name, each.size, each.isDirectory]).sort();
    told.size = await client.size("big");
    told.modified = (await client.lastMod("big")).toISOString();
    // The rest of a download, and what is appended.
    const parts = [];
    await client.downloadTo(new Writable({ write(part, _, done) { parts.push(part); done(); } }), "big", 100_000);
    told.rest = Buffer.concat(parts).length;
    await client.appendFrom(`${folder}/source/a`, "big");
    told.appended = await client.size("big");
    await client.rename("big", "d/moved");
    told.missing = await client.size("big").catch((fault) => fault.code);
    await client.cd("/");
    await client.removeDir(`up-${way}`);
    told.left = (await client.list()).map((each) => each.name);
} finally {
    client.close();
}
console.log(JSON.stringify(told));
