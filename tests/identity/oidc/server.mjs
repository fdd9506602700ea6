// A real OpenID provider on loopback: node server.mjs MODULES PORT STATE. People and keys are in the STATE file, which is
// read again whenever somebody is looked up; keys are read at the start.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const [modules, port, file] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(`${modules}/node_modules/oidc-provider/lib/index.js`));
const state = () => JSON.parse(readFileSync(file, "utf8"));
const client = {
  client_id: "llmguard", client_secret: state().secret, application_type: "native", require_auth_time: true,
  redirect_uris: ["http://127.0.0.1/guard/v1/login/callback/corp"], grant_types: ["authorization_code", "refresh_token"],
};
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [client],
  jwks: { keys: state().keys },
  cookies: { keys: [state().secret] },
  scopes: ["openid", "offline_access"],
  claims: { openid: ["sub", "amr"], email: ["email", "email_verified"], groups: ["groups"] },
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  issueRefreshToken: async (ctx, c) => c.grantTypeAllowed("refresh_token"),
  rotateRefreshToken: true,
  features: { devInteractions: { enabled: false } },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: async (ctx, id) => {
    const user = state().users[id];
    if (!user || user.disabled) return undefined;
    return { accountId: id, claims: async () => ({ sub: id, ...user }) };
  },
});
createServer(async (req, res) => {
  if (!req.url.startsWith("/interaction/")) return provider.callback()(req, res);
  const { params, prompt, session } = await provider.interactionDetails(req, res);
  const asks = prompt.name === "login";
  if (asks && req.method === "GET") {
    res.setHeader("content-type", "text/html");
    return res.end('<form method="post"><input name="login"></form>');
  }
  let body = "";
  for await (const chunk of req) body += chunk;
  const accountId = asks ? new URLSearchParams(body).get("login") : session.accountId;
  const grant = new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const consent = { grantId: await grant.save() };
  const login = asks ? { login: { accountId, amr: ["pwd", "otp"] } } : {};
  return provider.interactionFinished(req, res, { ...login, consent });
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
