/* Small values that all tabs of this browser agree on, in IndexedDB.
 *
 * localStorage reaches other tabs a moment late, so two that follow one another closely could
 * both use the same refresh token. A transaction here is seen by all once it is complete. */

const DATABASE = "fanfare";
const STORE = "kept";
let opened = null;

export async function read(key) {
  const database = await open();
  const request = database.transaction(STORE).objectStore(STORE).get(key);
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Replace a value by `change(value)` (undefined removes it); nobody comes in between. */
export async function update(key, change) {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(STORE, "readwrite");
    const store = transaction.objectStore(STORE);
    let next;
    store.get(key).onsuccess = ({ target }) => {
      next = change(target.result);
      if (next === undefined) store.delete(key);
      else store.put(next, key);
    };
    transaction.oncomplete = () => resolve(next);
    transaction.onabort = () => reject(transaction.error);
  });
}

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}
