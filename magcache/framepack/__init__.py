"""FramePack in the browser: a page that makes videos from a picture, faster with MagCache."""
