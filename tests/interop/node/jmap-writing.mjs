// jmap-jam writes: an upload in a draft, flags, a move, a submission that is undone. Told as JSON.
import JamClient from "jmap-jam";

const [url, user, password] = process.argv.slice(2);
// It knows tokens alone; passwords go the way of its tokens.
const basic = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
const plain = globalThis.fetch;
globalThis.fetch = (target, options = {}) =>
    plain(target, { ...options, headers: { ...options.headers, Authorization: basic } });

const jam = new JamClient({ sessionUrl: url, bearerToken: "none" });
const accountId = await jam.getPrimaryAccount();
const told = {};
const [{ list: mailboxes }] = await jam.api.Mailbox.get({ accountId });
const box = Object.fromEntries(mailboxes.map((each) => [each.role, each.id]));
const [{ list: identities }] = await jam.api.Identity.get({ accountId });
const upload = await jam.uploadBlob(accountId, new Blob([new Uint8Array([...Array(256).keys()])]));
const [{ created: { d: { id } } }] = await jam.api.Email.set({
    accountId,
    create: {
        d: {
            mailboxIds: { [box.drafts]: true }, keywords: { $draft: true },
            from: [{ name: null, email: user }], to: [{ name: "Me", email: user }], subject: "from jam",
            textBody: [{ partId: "t", type: "text/plain" }], bodyValues: { t: { value: "text" } },
            attachments: [{ blobId: upload.blobId, type: "application/octet-stream", name: "ä.bin" }],
        },
    },
});
await jam.api.Email.set({
    accountId, update: { [id]: { "keywords/$draft": null, "keywords/$seen": true, "keywords/$flagged": true } },
});
const [{ list: [kept] }] = await jam.api.Email.get({ accountId, ids: [id], properties: ["mailboxIds", "keywords", "attachments"] });
told.kept = {
    mailboxIds: Object.keys(kept.mailboxIds).length, keywords: Object.keys(kept.keywords).sort(), size: kept.attachments[0].size,
};
await jam.api.Email.set({ accountId, update: { [id]: { mailboxIds: { [box.archive]: true } } } });
const [{ list: [moved] }] = await jam.api.Email.get({ accountId, ids: [id], properties: ["mailboxIds"] });
told.moved = Object.keys(moved.mailboxIds).map((each) => mailboxes.find((one) => one.id === each).name);
const [{ notUpdated }] = await jam.api.Email.set({ accountId, update: { [id]: { mailboxIds: {} } } });
told.refused = notUpdated[id].type;
const [{ created: { s } }] = await jam.api.EmailSubmission.set({
    accountId,
    create: {
        s: {
            emailId: id, identityId: identities[0].id,
            envelope: { mailFrom: { email: user, parameters: { HOLDFOR: "3600" } }, rcptTo: [{ email: user, parameters: null }] },
        },
    },
});
await jam.api.EmailSubmission.set({ accountId, update: { [s.id]: { undoStatus: "canceled" } } });
const [{ list: [undone] }] = await jam.api.EmailSubmission.get({ accountId, ids: [s.id] });
told.undo = [s.undoStatus, undone.undoStatus];
console.log(JSON.stringify(told));
