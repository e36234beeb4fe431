// Before anything is drawn: the theme that the reader chose here. A classic script, as modules come too late for that.
{
  const chosen = localStorage.getItem("routerctl-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
