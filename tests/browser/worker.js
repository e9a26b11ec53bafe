// A module worker with a connection of its own; it posts what it hears.
import { DWebSocket } from "/dwebsocket.js";

const socket = new DWebSocket("/ws/", { backoff: { min: 1, max: 1 } });
const room = socket.group("chat.1");
room.addEventListener("message", (event) => postMessage(["message", event.data]));
room.addEventListener("joined", (event) => postMessage(["joined", event.recovered]));
await room.join();
onmessage = async (event) => {
  await room.send(event.data);
  socket.close();
  postMessage(["closed", socket.state]);
};
