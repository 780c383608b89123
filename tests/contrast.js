// Every text of the page with its contrast to what is behind it, as WCAG 2.2 counts: [[text, ratio], ...].
const channel = (value) => (value <= 10.3 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
const parts = (color) => color.match(/[\d.]+/g).map(Number);
const luminance = ([red, green, blue]) => 0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
const behind = (element) => {
  for (let one = element; one; one = one.parentElement) {
    const color = parts(getComputedStyle(one).backgroundColor);
    if (color[3] !== 0) return color;
  }
};
const ratio = (color, element) => {
  const [dark, light] = [luminance(parts(color)), luminance(behind(element))].sort((one, other) => one - other);
  return Math.round((100 * (light + 0.05)) / (dark + 0.05)) / 100;
};
const found = [];
for (const element of document.querySelectorAll("body *")) {
  if (!element.offsetParent) continue;
  const own = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
  if (own.length) found.push([own[0].data.trim(), ratio(getComputedStyle(element).color, element)]);
  if (!element.placeholder) continue;
  found.push([element.placeholder, ratio(getComputedStyle(element, "::placeholder").color, element)]);
}
return found;
