// nodemailer sends what its arguments say: port of submission, of submissions, password. Told as JSON.
import { createTransport } from "nodemailer";

const [port, securePort, pass] = process.argv.slice(2);
const user = "alice@example.test";
const tls = { rejectUnauthorized: false };
const told = { accepted: [] };

// STARTTLS and a login, a message as programs make them.
const one = createTransport({
    host: "127.0.0.1", port: Number(port), requireTLS: true, auth: { user, pass }, authMethod: "LOGIN", tls,
});
told.verified = await one.verify();
const sent = await one.sendMail({
    from: "Alice <alice@example.test>", to: "bob@example.test", bcc: "x@far.test",
    subject: "Grüße", text: ".dot\nfrom nodemailer\n", html: "<p>from nodemailer</p>",
    attachments: [{ filename: "octets.bin", content: Buffer.from([...Array(256).keys()]) }],
    dsn: { id: "envelope+1", return: "headers", notify: ["failure", "delay"], recipient: "bob@example.test" },
});
told.accepted.push(sent.accepted);
one.close();

// Connections that are kept, many messages at one time, a name beyond ASCII.
const pool = createTransport({
    host: "127.0.0.1", port: Number(securePort), secure: true, pool: true, maxConnections: 3,
    auth: { user, pass }, tls,
});
const many = Array.from({ length: 20 }, (_, number) =>
    pool.sendMail({ from: user, to: "bob@example.test", subject: `pooled ${number}`, text: "hi\n" }));
told.pooled = (await Promise.all(many)).length;
await pool.sendMail({ from: user, to: "jürgen@far.test", subject: "utf8", text: "hi\n" });
try {
    await pool.sendMail({ from: user, to: ["nobody@example.test"], subject: "no", text: "hi\n" });
} catch (error) {
    told.refused = [error.responseCode, error.rejected];
}
pool.close();

const wrong = createTransport({
    host: "127.0.0.1", port: Number(securePort), secure: true, auth: { user, pass: "wrong" }, tls,
});
try {
    await wrong.verify();
} catch (error) {
    told.wrong = [error.code, error.responseCode];
}
console.log(JSON.stringify(told));
