/** The words of the conversation, in English and in Vietnamese: the same keys in both. */

/** @typedef {import("./strings.js").Strings} Strings */

/** @type {Strings} */
export const ENGLISH = {
  skip: "Skip to the question",
  nav: "Pages",
  ask: "Ask",
  upload: "Upload",
  collections: "Collections",
  language: "Language",
  theme: "Theme",
  "clear-history": "Clear history",
  cancel: "Cancel",
  close: "Close",
};

/** @type {Strings} */
export const VIETNAMESE = {
  skip: "Đến ô câu hỏi",
  nav: "Các trang",
  ask: "Hỏi",
  upload: "Tải lên",
  collections: "Bộ sưu tập",
  language: "Ngôn ngữ",
  theme: "Giao diện",
  "clear-history": "Xoá lịch sử",
  cancel: "Huỷ",
  close: "Đóng",
};
