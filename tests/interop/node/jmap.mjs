// jmap-jam reads: its session, messages by result references, threads, snippets, changes, blobs. Told as JSON.
import JamClient from "jmap-jam";

const [url, user, password] = process.argv.slice(2);
// It knows tokens alone; passwords go the way of its tokens.
const basic = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
const plain = globalThis.fetch;
globalThis.fetch = (target, options = {}) =>
    plain(target, { ...options, headers: { ...options.headers, Authorization: basic } });

const jam = new JamClient({ sessionUrl: url, bearerToken: "none" });
const accountId = await jam.getPrimaryAccount();
const told = { accountId };
const [{ mailboxes, query, emails, threads, snippets }] = await jam.requestMany((b) => {
    const filter = { text: "octets" };
    const mailboxes = b.Mailbox.get({ accountId });
    const query = b.Email.query({ accountId, sort: [{ property: "subject" }], calculateTotal: true });
    const emails = b.Email.get({
        accountId, ids: query.$ref("/ids"), properties: ["id", "threadId", "subject", "from", "preview", "textBody", "bodyValues", "blobId"],
        fetchTextBodyValues: true,
    });
    const threads = b.Thread.get({ accountId, ids: emails.$ref("/list/*/threadId") });
    const snippets = b.SearchSnippet.get({ accountId, filter, emailIds: query.$ref("/ids") });
    return { mailboxes, query, emails, threads, snippets };
});
told.roles = mailboxes.list.map((each) => each.role).sort();
told.total = query.total;
told.subjects = emails.list.map((each) => each.subject);
told.senders = emails.list.map((each) => each.from[0].email);
told.texts = emails.list.map((each) => each.bodyValues[each.textBody[0].partId].value);
told.threads = threads.list.map((each) => each.emailIds.length);
told.marked = snippets.list.filter((each) => each.subject?.includes("<mark>")).length;
const [changes] = await jam.api.Email.changes({ accountId, sinceState: emails.state });
told.unchanged = changes.created.length + changes.updated.length + changes.destroyed.length;
const upload = await jam.uploadBlob(accountId, new Blob([new Uint8Array([...Array(256).keys()])]));
const download = await jam.downloadBlob({
    accountId, blobId: upload.blobId, mimeType: "application/octet-stream", fileName: "a b.bin",
});
told.blob = [...new Uint8Array(await download.arrayBuffer())].length;
const source = await (await jam.downloadBlob({
    accountId, blobId: emails.list[0].blobId, mimeType: "message/rfc822", fileName: "a.eml",
})).text();
told.source = source.length;
try {
    await jam.api.Email.query({ accountId, filter: { colour: "red" } });
} catch (error) {
    told.error = error.type;
}
console.log(JSON.stringify(told));
