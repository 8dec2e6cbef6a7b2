// Replaces Worker where a page is opened from file://: browsers then refuse workers, and the search runs in one.
// The script of the worker runs in a hidden frame, whose `postMessage` and `onmessage` stand for those of a worker.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      this.loaded = new Promise(resolve => {
        frame.onload = () => resolve(frame.contentWindow)
      })
      const script = new URL(url, document.baseURI).href.replaceAll("&", "&amp;").replaceAll('"', "&quot;")
      frame.srcdoc =
        `<script>
           postMessage = data => parent.dispatchEvent(new MessageEvent("${this.reply}", {data}))
           importScripts = (...urls) => urls.reduce((done, url) => done.then(() => new Promise((loaded, failed) => {
             document.head.append(Object.assign(document.createElement("script"),
               {src: new URL(url, "${script}").href, onload: loaded, onerror: failed}))
           })), Promise.resolve())
         <\/script><script src="${script}"><\/script>`
      window.addEventListener(this.reply, ({data}) => this.dispatchEvent(new MessageEvent("message", {data})))
      document.body.append(frame)
    }

    reply = `worker-${crypto.randomUUID()}`

    postMessage(data) {
      this.loaded.then(worker => worker.dispatchEvent(new MessageEvent("message", {data})))
    }
  }
}
