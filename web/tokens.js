/* Access tokens of one user that renew themselves: the client's session(), kept where Accounts
 * keeps it, for all windows of this browser. */

import { browserStore, session } from "/static/client/fanfare.js";

/** The `token` function of the client. */
export function tokensOf(accounts, user) {
  return session({ store: storeOf(accounts, user) });
}

function storeOf(accounts, user) {
  const shared = browserStore(user.id);
  return {
    lock: shared.lock,
    async read() {
      const kept = accounts.find(user.id);
      // localStorage reaches other windows a moment late; there the one that is newer is right. A
      // browser that refuses IndexedDB still has localStorage, which is right for one window.
      const other = kept && (await shared.read().catch(() => null));
      return other?.obtained_at > kept?.obtained_at ? other : kept;
    },
    async write(grant) {
      if (!grant) accounts.drop(user.id);
      const kept = grant && accounts.keep({ ...grant, user });
      await shared.write(kept).catch(() => {});
    },
  };
}
