// A session of imapflow, told as JSON. Arguments: port, certificate authority's file, password.
import { readFileSync } from "node:fs";
import { ImapFlow } from "imapflow";

const [port, ca, pass] = process.argv.slice(2);
const told = {};

function connection() {
    return new ImapFlow({
        host: "localhost",
        port: Number(port),
        secure: true,
        tls: { ca: readFileSync(ca) },
        auth: { user: "bob", pass },
        qresync: true,
        logger: false,
    });
}

const client = connection();
await client.connect();
told.capabilities = [...client.capabilities.keys()];
told.enabled = [...client.enabled];
told.compressed = client._inflate !== undefined && client._inflate !== false && client._inflate !== null;

let mailbox = await client.mailboxOpen("INBOX");
told.exists = mailbox.exists;
const modseq = mailbox.highestModseq;
const uidValidity = mailbox.uidValidity;

told.messages = [];
for await (const message of client.fetch("1:*", {
    uid: true, flags: true, envelope: true, bodyStructure: true, size: true, internalDate: true,
    threadId: true, source: true,
})) {
    told.messages.push({
        seq: message.seq, uid: message.uid, flags: [...message.flags], subject: message.envelope.subject,
        from: message.envelope.from[0].address, type: message.bodyStructure.type, size: message.size,
        emailId: message.emailId, modseq: String(message.modseq), source: message.source.toString("latin1"),
    });
}

// A large message in pieces, decoded.
const { meta, content } = await client.download("2", undefined, { uid: true });
let octets = 0;
for await (const piece of content) octets += piece.length;
told.download = { expected: meta.expectedSize, octets };

// IDLE: another connection adds a message and changes a flag.
const other = connection();
await other.connect();
await other.mailboxOpen("INBOX");
const heard = new Promise((resolve) => {
    const news = {};
    const both = () => news.exists && news.flags && resolve({ ...news });
    client.on("exists", (update) => { news.exists = update.count; both(); });
    client.on("flags", (update) => { news.flags = [update.seq, [...update.flags]]; both(); });
});
const idling = client.idle();
await other.append("INBOX", "Subject: from another\r\n\r\ntext\r\n", ["\\Seen"], new Date(0));
await other.messageFlagsAdd("1", ["\\Flagged"]);
told.idle = await heard;

// MOVE and COPY tell where the messages are now.
await client.mailboxCreate("Moved/Deep");
const moved = await client.messageMove("2", "Moved/Deep", { uid: true });
told.moved = [...moved.uidMap];
const copied = await client.messageCopy("1", "Moved/Deep", { uid: true });
told.copied = [...copied.uidMap];
await idling.catch(() => {});

// What changed since, with what vanished, by QRESYNC.
await other.messageDelete("1", { uid: true });
await client.mailboxClose();
const gone = [];
client.on("expunge", (event) => gone.push(event.uid));
await client.mailboxOpen("INBOX", { changedSince: modseq, uidValidity });
told.vanished = gone.sort();
told.changed = [];
for await (const message of client.fetch("1:*", { uid: true, flags: true }, { changedSince: modseq })) {
    told.changed.push(message.uid);
}
told.search = await client.search({ subject: "from another" }, { uid: true });
told.status = await client.status("Moved/Deep", { messages: true, unseen: true, highestModseq: true });
told.status.highestModseq = String(told.status.highestModseq);
told.list = (await client.list()).map((box) => [box.path, box.specialUse || ""]);
await other.logout();
await client.logout();
console.log(JSON.stringify(told, (key, value) => (typeof value === "bigint" ? String(value) : value)));
